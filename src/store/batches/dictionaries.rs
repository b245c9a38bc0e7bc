//! Uploaded pronunciation dictionaries: their accounts, ids and contents.

use crate::store::engine::db::{query, query_as};
use crate::store::{Store, StoreError};

impl Store {
    /// The id of an account's dictionary of this name (its file), and the hash of its content when it was uploaded.
    pub async fn dictionary(&self, account: &str, name: &str) -> Result<Option<(String, String)>, StoreError> {
        let sql = "SELECT id, hash FROM dictionaries WHERE account = $1 AND name = $2";
        query_as(sql).bind(account).bind(name).fetch_optional(&self.read).await
    }

    /// Records an uploaded dictionary.
    pub async fn keep_dictionary(&self, account: &str, name: &str, id: &str, hash: &str) -> Result<(), StoreError> {
        let [account, name, id, hash] = [account, name, id, hash].map(str::to_owned);
        self.write(move |conn, _| {
            let [account, name, id, hash] = [&account, &name, &id, &hash].map(String::clone);
            Box::pin(async move {
                query(
                    r"-- dictionaries::keep_dictionary
                      INSERT INTO dictionaries (account, name, id, hash)
                      VALUES ($1, $2, $3, $4)
                      ON CONFLICT (account, name) DO UPDATE SET id = excluded.id, hash = excluded.hash",
                )
                .bind(account)
                .bind(name)
                .bind(id)
                .bind(hash)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Opening, Store};

    #[tokio::test]
    async fn each_account_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        assert_eq!(store.dictionary("a", "/words.csv").await.unwrap(), None);
        store.keep_dictionary("a", "/words.csv", "id-1", "00").await.unwrap();
        store.keep_dictionary("b", "/words.csv", "id-2", "00").await.unwrap();
        store.keep_dictionary("a", "/words.csv", "id-1", "01").await.unwrap();
        assert_eq!(store.dictionary("a", "/words.csv").await.unwrap(), Some(("id-1".into(), "01".into())));
        assert_eq!(store.dictionary("b", "/words.csv").await.unwrap(), Some(("id-2".into(), "00".into())));
    }

    crate::store::harness::on_postgres_too! {
        each_account_has_its_own,
    }
}
