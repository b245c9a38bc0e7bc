//! Which content of a definition is in force, where several services keep its schedule and have different files.
//!
//! A content that the ledger has not seen is a new version, and is in force at once. One that was in force before comes back
//! only when no other service has the present one: a service that was not updated yet, and starts again, changes nothing.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::domain::{environment::Environment, process::ProcessName};
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::engine::sessions::host;
use crate::store::{Store, StoreError};

/// A service is there for so many leases after it said so last.
const LEASES: i64 = 3;
/// How many contents are remembered that were in force.
const FORMER: usize = 50;
/// Whoever held the former content has recorded all runs up to so long ago, in ms.
const RECORDED_MS: Millis = 10_000;

/// A definition that a service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionContent {
    /// Its name.
    pub definition: String,
    /// SHA-256 of its file, in hex.
    pub content: String,
    /// Whether it has a schedule.
    pub is_scheduled: bool,
}

/// A service that has a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleNode {
    /// Its process.
    pub process: ProcessName,
    /// SHA-256 of its file, in hex.
    pub content: String,
    /// Whether that content is in force. Another one starts nothing.
    pub is_in_force: bool,
}

impl Store {
    /// Says which definitions a service has. Returns the names of those of which another content is in force.
    pub async fn announce_definitions(
        &self,
        node: &str,
        environment: Environment,
        definitions: Vec<DefinitionContent>,
    ) -> Result<Vec<String>, StoreError> {
        if self.is_announced(node, environment, &definitions).await? {
            return Ok(Vec::new());
        }
        let (node, lease_ms) = (node.to_owned(), self.timing().lease_ms);
        self.write(move |conn, now| {
            let (node, definitions) = (node.clone(), definitions.clone());
            Box::pin(async move {
                forget_gone(conn, (&node, environment), now - LEASES * lease_ms).await?;
                let mut others = Vec::new();
                for one in definitions {
                    if !announce(conn, (&node, environment), &one, now).await? {
                        others.push(one.definition);
                    }
                }
                Ok(others)
            })
        })
        .await
    }

    /// Whether all of them are in force, and were announced less than a lease ago.
    async fn is_announced(
        &self,
        node: &str,
        environment: Environment,
        definitions: &[DefinitionContent],
    ) -> Result<bool, StoreError> {
        let known: Vec<(String, String)> = query_as(
            r"-- nodes::is_announced
              SELECT n.definition, n.content
              FROM schedule_nodes AS n
              LEFT JOIN schedules AS s ON s.definition = n.definition AND s.environment = n.environment
              WHERE n.node = $1 AND n.environment = $2 AND n.seen_at > $3 AND n.content = coalesce(s.content, n.content)",
        )
        .bind(node)
        .bind(environment)
        .bind(self.now() - self.timing().lease_ms)
        .fetch_all(&self.read)
        .await?;
        let has = |one: &DefinitionContent| {
            known.iter().any(|(name, content)| (name, content) == (&one.definition, &one.content))
        };
        Ok(known.len() == definitions.len() && definitions.iter().all(has))
    }

    /// A service keeps no schedule any more.
    pub async fn leave_definitions(&self, node: &str) -> Result<(), StoreError> {
        let node = node.to_owned();
        self.write(move |conn, _| {
            let node = node.clone();
            Box::pin(async move {
                query("DELETE FROM schedule_nodes WHERE node = $1").bind(node).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// The services that have each definition.
    pub async fn schedule_nodes(
        &self,
        environment: Environment,
    ) -> Result<BTreeMap<String, Vec<ScheduleNode>>, StoreError> {
        let rows = query(
            r"-- nodes::schedule_nodes
              SELECT n.definition, n.host, n.pid, n.content, s.content AS in_force
              FROM schedule_nodes AS n
              LEFT JOIN schedules AS s ON s.definition = n.definition AND s.environment = n.environment
              WHERE n.environment = $1 AND n.seen_at > $2
              ORDER BY n.definition, n.host, n.pid",
        )
        .bind(environment)
        .bind(self.now() - LEASES * self.timing().lease_ms)
        .fetch_all(&self.read)
        .await?;
        let mut nodes: BTreeMap<String, Vec<ScheduleNode>> = BTreeMap::new();
        for row in rows {
            let content: String = row.try_get("content")?;
            let is_in_force = row.text_if_any("in_force")?.is_none_or(|in_force| in_force == content);
            let process = ProcessName { host: row.try_get("host")?, pid: row.try_get("pid")? };
            nodes.entry(row.try_get("definition")?).or_default().push(ScheduleNode { process, content, is_in_force });
        }
        Ok(nodes)
    }
}

/// Removes services that have been silent since `silent_since`, and what this one had.
async fn forget_gone(
    conn: &mut Conn,
    (node, environment): (&str, Environment),
    silent_since: Millis,
) -> Result<(), StoreError> {
    query("DELETE FROM schedule_nodes WHERE environment = $1 AND (seen_at <= $2 OR node = $3)")
        .bind(environment)
        .bind(silent_since)
        .bind(node)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns whether this content is in force from now on.
async fn announce(
    conn: &mut Conn,
    (node, environment): (&str, Environment),
    one: &DefinitionContent,
    now: Millis,
) -> Result<bool, StoreError> {
    let DefinitionContent { definition, content, is_scheduled } = one;
    query(
        r"-- nodes::announce
          INSERT INTO schedule_nodes (definition, environment, node, pid, host, content, seen_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(definition)
    .bind(environment)
    .bind(node)
    .bind(i64::from(std::process::id()))
    .bind(host())
    .bind(content)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    if *is_scheduled {
        // One that is new has missed no run before now.
        query(
            r"-- nodes::announce
              INSERT INTO schedules (definition, environment, settled_to, content)
              VALUES ($1, $2, $3, $4)
              ON CONFLICT (definition, environment) DO NOTHING",
        )
        .bind(definition)
        .bind(environment)
        .bind(now)
        .bind(content)
        .execute(&mut *conn)
        .await?;
    }
    let found: Option<(Option<String>, String)> =
        query_as("SELECT content, former FROM schedules WHERE definition = $1 AND environment = $2")
            .bind(definition)
            .bind(environment)
            .fetch_optional(&mut *conn)
            .await?;
    let Some((in_force, former)) = found else { return Ok(true) };
    if in_force.as_ref() == Some(content) {
        return Ok(true);
    }
    let held: bool = query_scalar(
        r"-- nodes::announce
          SELECT EXISTS (
            SELECT 1 FROM schedule_nodes
            WHERE definition = $1 AND environment = $2 AND content = $3 AND node <> $4)",
    )
    .bind(definition)
    .bind(environment)
    .bind(&in_force)
    .bind(node)
    .fetch_one(&mut *conn)
    .await?;
    let mut former: Vec<String> = serde_json::from_str(&former)
        .map_err(|e| StoreError::Unexpected(format!("the former contents of {definition}: {e}")))?;
    if held && former.contains(content) {
        return Ok(false);
    }
    former.retain(|one| one != content);
    former.extend(in_force);
    former.drain(..former.len().saturating_sub(FORMER));
    // Whoever held the former content has recorded its runs: they are not recorded again by another rule.
    query(
        r"-- nodes::announce
          UPDATE schedules
          SET content = $3, former = $4,
            settled_to = CASE WHEN $5 = 1 AND settled_to < $6 THEN $6 ELSE settled_to END
          WHERE definition = $1 AND environment = $2",
    )
    .bind(definition)
    .bind(environment)
    .bind(content)
    .bind(serde_json::json!(former).to_string())
    .bind(i64::from(held))
    .bind(now - RECORDED_MS)
    .execute(conn)
    .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Ledger, ledger};

    async fn says(l: &Ledger, node: &str, content: &str) -> bool {
        let one = DefinitionContent { definition: "night".into(), content: content.into(), is_scheduled: true };
        l.store.announce_definitions(node, Environment::Live, vec![one]).await.unwrap().is_empty()
    }

    #[tokio::test]
    async fn a_new_content_is_in_force_and_an_old_one_waits_until_nobody_has_the_new() {
        let l = ledger().await;
        assert!(says(&l, "a", "v1").await && says(&l, "b", "v1").await);
        assert!(says(&l, "a", "v2").await, "a new version");
        assert!(!says(&l, "b", "v1").await, "it is not updated yet");
        assert!(!says(&l, "c", "v1").await, "nor is one that starts again");
        let nodes = l.store.schedule_nodes(Environment::Live).await.unwrap().remove("night").unwrap();
        let stands: Vec<_> = nodes.iter().map(|node| (node.content.as_str(), node.is_in_force)).collect();
        assert_eq!((stands.len(), stands.iter().filter(|node| **node == ("v1", false)).count()), (3, 2));
        assert!(says(&l, "b", "v2").await, "it is updated");
        // A rollout that is taken back ends when the last one has gone back.
        assert!(!says(&l, "a", "v1").await);
        assert!(says(&l, "b", "v1").await);
        assert!(says(&l, "a", "v1").await && says(&l, "c", "v1").await);
    }

    #[tokio::test]
    async fn one_that_is_gone_holds_nothing() {
        let l = ledger().await;
        assert!(says(&l, "a", "v1").await && says(&l, "a", "v2").await);
        assert!(!says(&l, "b", "v1").await);
        l.store.leave_definitions("a").await.unwrap();
        assert!(says(&l, "b", "v1").await, "it left");
        assert!(says(&l, "c", "v3").await && !says(&l, "b", "v1").await);
        l.clock.advance(LEASES * l.store.timing().lease_ms + 1);
        assert!(says(&l, "b", "v1").await, "it was killed");
        assert_eq!(l.store.schedule_nodes(Environment::Live).await.unwrap()["night"].len(), 1);
    }

    #[tokio::test]
    async fn a_definition_without_a_schedule_makes_none() {
        let l = ledger().await;
        let one = DefinitionContent { definition: "day".into(), content: "v1".into(), is_scheduled: false };
        let others = l.store.announce_definitions("a", Environment::Live, vec![one]).await.unwrap();
        assert!(others.is_empty());
        assert!(l.store.settled(Environment::Live).await.unwrap().is_empty());
        // Of one that has a schedule elsewhere it is another content.
        assert!(says(&l, "a", "v1").await && says(&l, "b", "v2").await);
        let one = DefinitionContent { definition: "night".into(), content: "v1".into(), is_scheduled: false };
        let others = l.store.announce_definitions("a", Environment::Live, vec![one]).await.unwrap();
        assert_eq!(others, ["night"]);
    }

    #[tokio::test]
    async fn who_takes_over_from_another_does_not_record_its_runs_again() {
        let l = ledger().await;
        assert!(says(&l, "a", "v1").await);
        let begun = l.store.settled(Environment::Live).await.unwrap()[0].1;
        l.clock.advance(1_800_000);
        assert!(says(&l, "a", "v1").await);
        assert_eq!(l.store.settled(Environment::Live).await.unwrap()[0].1, begun, "nothing was due");
        assert!(says(&l, "b", "v2").await);
        assert!(l.store.settled(Environment::Live).await.unwrap()[0].1 > begun + 1_700_000);
        // Alone, it missed what was due meanwhile.
        l.store.leave_definitions("b").await.unwrap();
        l.store.leave_definitions("a").await.unwrap();
        let settled = l.store.settled(Environment::Live).await.unwrap();
        l.clock.advance(1_800_000);
        assert!(says(&l, "c", "v3").await);
        assert_eq!(l.store.settled(Environment::Live).await.unwrap(), settled);
    }

    crate::store::harness::on_postgres_too! {
        a_new_content_is_in_force_and_an_old_one_waits_until_nobody_has_the_new,
        one_that_is_gone_holds_nothing,
        a_definition_without_a_schedule_makes_none,
        who_takes_over_from_another_does_not_record_its_runs_again,
    }
}
