//! The secrets of callbacks and notifications, where the ledger is on a server: all its processes share them.

use crate::clock::Millis;
use crate::domain::callback::{Secret, SecretPurpose};
use crate::store::engine::db::{Conn, Row, query, query_scalar};
use crate::store::{Store, StoreError};

/// How many secrets of one purpose are known at a time: the one that signs, and the one before it.
const KNOWN: i64 = 2;

/// A secret that stands in the ledger. Its `Debug` does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSecret {
    /// What it proves.
    pub purpose: SecretPurpose,
    /// Its place among those of its purpose; the highest is the newest.
    pub number: i64,
    /// The secret.
    pub secret: Secret,
    /// When it was made.
    pub made_at: Millis,
}

impl Store {
    /// All secrets that stand in the ledger. None in that of a file, whose secrets are files beside it.
    pub async fn ledger_secrets(&self) -> Result<Vec<LedgerSecret>, StoreError> {
        let sql = "SELECT purpose, number, secret, made_at FROM secrets ORDER BY purpose, number DESC";
        query(sql).fetch_all(&self.read).await?.iter().map(read).collect()
    }

    /// Puts secrets of another ledger into this one. Those that it has stay as they are.
    pub async fn insert_secrets(&self, secrets: Vec<LedgerSecret>) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let secrets = secrets.clone();
            Box::pin(async move {
                for one in &secrets {
                    insert(conn, one).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The secrets of one purpose, the newest first. If there is none, `first` becomes one, unless another process was
    /// faster.
    pub async fn secrets_of(&self, purpose: SecretPurpose, first: Secret) -> Result<Vec<Secret>, StoreError> {
        let found = self.known_secrets(purpose).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        self.write(move |conn, now| {
            let first = first.clone();
            Box::pin(async move {
                let exists = "SELECT EXISTS (SELECT 1 FROM secrets WHERE purpose = $1)";
                if !query_scalar::<bool>(exists).bind(purpose).fetch_one(&mut *conn).await? {
                    insert(conn, &LedgerSecret { purpose, number: 1, secret: first, made_at: now }).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.known_secrets(purpose).await
    }

    /// The same, without making one.
    pub async fn known_secrets(&self, purpose: SecretPurpose) -> Result<Vec<Secret>, StoreError> {
        let all = self.ledger_secrets().await?;
        Ok(all.into_iter().filter(|one| one.purpose == purpose).map(|one| one.secret).collect())
    }

    /// Adds a secret, which signs from now on. The one before it stays known; those before that go.
    pub async fn add_secret(&self, purpose: SecretPurpose, secret: Secret) -> Result<(), StoreError> {
        self.write(move |conn, now| {
            let secret = secret.clone();
            Box::pin(async move {
                let newest = "SELECT coalesce(max(number), 0) FROM secrets WHERE purpose = $1";
                let newest: i64 = query_scalar(newest).bind(purpose).fetch_one(&mut *conn).await?;
                let number = newest + 1;
                insert(conn, &LedgerSecret { purpose, number, secret, made_at: now }).await?;
                query("DELETE FROM secrets WHERE purpose = $1 AND number <= $2")
                    .bind(purpose)
                    .bind(number - KNOWN)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}

async fn insert(conn: &mut Conn, one: &LedgerSecret) -> Result<(), StoreError> {
    query(
        r"-- secrets::insert
          INSERT INTO secrets (purpose, number, secret, made_at)
          VALUES ($1, $2, $3, $4)
          ON CONFLICT (purpose, number) DO NOTHING",
    )
    .bind(one.purpose)
    .bind(one.number)
    .bind(one.secret.hex())
    .bind(one.made_at)
    .execute(conn)
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<LedgerSecret, StoreError> {
    let digits = row.text("secret")?;
    // The message of the parser does not repeat the digits.
    let secret =
        Secret::parse(digits).map_err(|why| StoreError::Unexpected(format!("a secret of the ledger: {why}")))?;
    let (purpose, number, made_at) = (row.try_get("purpose")?, row.try_get("number")?, row.try_get("made_at")?);
    Ok(LedgerSecret { purpose, number, secret, made_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::callback::SecretPurpose::{Notify, Webhook};
    use crate::store::tests::ledger;

    #[tokio::test]
    async fn all_who_start_at_once_agree_on_one_secret() {
        let l = ledger().await;
        let mut starts = Vec::new();
        for n in 0..8 {
            let store = crate::store::tests::open(&l.path, &l.clock).await;
            starts.push(tokio::spawn(async move { store.secrets_of(Webhook, Secret::new([n; 32])).await.unwrap() }));
        }
        let found = futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert!(found.iter().all(|secrets| secrets.len() == 1 && *secrets == found[0]));
        assert_eq!(l.store.known_secrets(Notify).await.unwrap(), [], "each purpose has its own");
    }

    #[tokio::test]
    async fn the_newest_signs_and_the_one_before_it_is_known() {
        let l = ledger().await;
        let secret = |n| Secret::new([n; 32]);
        assert_eq!(l.store.secrets_of(Webhook, secret(1)).await.unwrap(), [secret(1)]);
        assert_eq!(l.store.secrets_of(Notify, secret(9)).await.unwrap(), [secret(9)]);
        for (new, known) in [(2, [secret(2), secret(1)]), (3, [secret(3), secret(2)])] {
            l.store.add_secret(Webhook, secret(new)).await.unwrap();
            assert_eq!(l.store.secrets_of(Webhook, secret(7)).await.unwrap(), known);
        }
        assert_eq!(l.store.known_secrets(Notify).await.unwrap(), [secret(9)]);
        // All of them can be carried to another ledger, as they are.
        let all = l.store.ledger_secrets().await.unwrap();
        let other = ledger().await;
        other.store.insert_secrets(all.clone()).await.unwrap();
        other.store.insert_secrets(all.clone()).await.unwrap();
        assert_eq!(other.store.ledger_secrets().await.unwrap(), all);
        assert!(!format!("{all:?}").contains("0202"), "{all:?}");
    }

    crate::store::harness::on_postgres_too! {
        all_who_start_at_once_agree_on_one_secret,
        the_newest_signs_and_the_one_before_it_is_known,
    }
}
