//! Whether a ledger is whole: what its engine can prove, and what its rows must have in common that no constraint holds.

use crate::store::engine::db::{Conn, Engine, query, query_scalar};
use crate::store::{Store, StoreError};

/// How many places of a finding are named.
const NAMED: usize = 5;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, as a sentence without its end.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// Some of the places.
    pub places: Vec<String>,
    /// What the user can do.
    pub remedy: &'static str,
}

impl Finding {
    /// One, if there are any places.
    pub(in crate::store) fn of(what: &'static str, places: Vec<String>, remedy: &'static str) -> Option<Self> {
        let count = places.len() as u64;
        let places: Vec<String> = places.into_iter().take(NAMED).collect();
        (count > 0).then_some(Self { what, count, places, remedy })
    }
}

/// What must hold for all rows.
struct Rule {
    what: &'static str,
    remedy: &'static str,
    /// Selects the places where it does not hold. `$1` is the time, if it is asked for.
    places: &'static str,
}

const RESTORE: &str = "wavebatch does not write this: restore a backup, or report it";
const SUMS: &str = "limits of spend count wrongly: restore a backup, or report it; what was paid is in the rows of the calls (`wavebatch spend`)";
const WORK: &str =
    "the next `run`, `work` or `serve` takes the line over when its lease ends; if it does not, report it";

/// In the order in which they are told.
const RULES: &[Rule] = &[
    Rule {
        what: "a line is worked by a process that is not registered",
        remedy: WORK,
        places: r"-- check::unknown_process
            SELECT b.name || ': ' || j.key
            FROM jobs AS j
            JOIN batches AS b ON b.id = j.batch
            WHERE j.process IS NOT NULL AND j.state = 'running' AND j.due_at > $1
              AND NOT EXISTS (SELECT 1 FROM processes AS p WHERE p.id = j.process)",
    },
    Rule {
        what: "a call holds its slot for a process that is not registered",
        remedy: "the slot ends by itself; until then fewer calls are in flight than the limits allow",
        places: r"-- check::slots
            SELECT b.name || ': ' || j.key
            FROM calls AS c
            JOIN jobs AS j ON j.id = c.job
            JOIN batches AS b ON b.id = c.batch
            WHERE c.slot_until > $1 AND c.process IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM processes AS p WHERE p.id = c.process)",
    },
    Rule {
        what: "a call is booked to another batch than its line",
        remedy: RESTORE,
        places: r"-- check::call_batches
            SELECT b.name || ': ' || j.key
            FROM calls AS c
            JOIN jobs AS j ON j.id = c.job
            JOIN batches AS b ON b.id = j.batch
            WHERE c.batch <> j.batch",
    },
    Rule {
        what: "a call is of a later generation than its line",
        remedy: RESTORE,
        places: r"-- check::generations
            SELECT b.name || ': ' || j.key
            FROM calls AS c
            JOIN jobs AS j ON j.id = c.job
            JOIN batches AS b ON b.id = j.batch
            WHERE c.generation > j.generation",
    },
    Rule {
        what: "an unfinished line has an answered call whose answer is not kept",
        remedy: "the answer was paid for and cannot be delivered: restore a backup, or `wavebatch retry` the line, which pays again",
        places: r"-- check::lost_answers
            SELECT b.name || ': ' || j.key
            FROM jobs AS j
            JOIN calls AS c ON c.job = j.id
            JOIN batches AS b ON b.id = j.batch
            WHERE j.due_at IS NOT NULL AND c.state = 'answered' AND c.cache_key IS NULL
              AND NOT EXISTS (SELECT 1 FROM answers AS a WHERE a.call = c.id)",
    },
    Rule {
        what: "an answer is kept of a call that was not answered",
        remedy: RESTORE,
        places: r"-- check::answers
            SELECT b.name || ': ' || j.key
            FROM answers AS a
            JOIN calls AS c ON c.id = a.call
            JOIN jobs AS j ON j.id = c.job
            JOIN batches AS b ON b.id = c.batch
            WHERE c.state IN ('sent', 'accepted', 'rejected', 'lost')",
    },
    Rule {
        what: "a file belongs to a line of another batch",
        remedy: RESTORE,
        places: r"-- check::owners
            SELECT b.name || ': ' || o.path
            FROM outputs AS o
            JOIN jobs AS j ON j.id = o.job
            JOIN batches AS b ON b.id = o.batch
            WHERE o.batch <> j.batch",
    },
    Rule {
        what: "a line waits for the end of one that is not there",
        remedy: "the line starts by itself when its time comes",
        places: r"-- check::successors
            SELECT b.name || ': ' || j.key
            FROM jobs AS j
            JOIN batches AS b ON b.id = j.batch
            WHERE j.after IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs AS o WHERE o.id = j.after)",
    },
    Rule {
        what: "a line waits for a call that is not there",
        remedy: "the line starts by itself when its time comes",
        places: r"-- check::waits
            SELECT b.name || ': ' || j.key
            FROM jobs AS j
            JOIN batches AS b ON b.id = j.batch
            WHERE j.waits_for IS NOT NULL AND NOT EXISTS (SELECT 1 FROM calls AS c WHERE c.id = j.waits_for)",
    },
    Rule {
        what: "a line was settled under a number that the ledger has not reached",
        remedy: RESTORE,
        places: r"-- check::numbers
            SELECT b.name || ': ' || j.key
            FROM jobs AS j
            JOIN batches AS b ON b.id = j.batch
            WHERE j.seq > (SELECT l.seq FROM ledger AS l)",
    },
    Rule {
        what: "what a batch spent is not the sum of its calls",
        remedy: SUMS,
        places: r"-- check::spent
            SELECT b.name || ': ' || CAST(b.spent AS TEXT) || ' instead of ' || CAST(coalesce(c.cost, 0) AS TEXT) || ' micro-USD'
            FROM batches AS b
            LEFT JOIN (SELECT batch, CAST(sum(cost) AS BIGINT) AS cost FROM calls GROUP BY batch) AS c ON c.batch = b.id
            WHERE b.spent <> coalesce(c.cost, 0)",
    },
    Rule {
        what: "what a batch reserves is not the sum of its open calls",
        remedy: SUMS,
        places: r"-- check::reserved
            SELECT b.name || ': ' || CAST(b.reserved AS TEXT) || ' instead of ' || CAST(coalesce(c.reserve, 0) AS TEXT) || ' micro-USD'
            FROM batches AS b
            LEFT JOIN (SELECT batch, CAST(sum(reserve) AS BIGINT) AS reserve FROM calls GROUP BY batch) AS c ON c.batch = b.id
            WHERE b.reserved <> coalesce(c.reserve, 0)",
    },
    Rule {
        what: "what an account spent in a quarter of an hour is not the sum of its calls",
        remedy: SUMS,
        places: r"-- check::spending
            SELECT 'account ' || k.account || ', quarter ' || CAST(k.quarter AS TEXT)
            FROM (
                SELECT account, environment, quarter, CAST(sum(spent) AS BIGINT) AS spent, CAST(sum(reserved) AS BIGINT) AS reserved
                FROM (
                    SELECT account, environment, quarter, spent, reserved FROM spending
                    UNION ALL
                    SELECT c.account, b.environment, c.sent_at - c.sent_at % 900000, -c.cost, -c.reserve
                    FROM calls AS c
                    JOIN batches AS b ON b.id = c.batch
                    WHERE c.cost > 0 OR c.reserve > 0
                ) AS both_sides
                GROUP BY account, environment, quarter
            ) AS k
            WHERE k.spent <> 0 OR k.reserved <> 0",
    },
    Rule {
        what: "the line that a paused batch lets through is not there",
        remedy: "`wavebatch resume` the batch",
        places: r"-- check::probes
            SELECT b.name
            FROM batches AS b
            WHERE b.probe_job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.id = b.probe_job)",
    },
];

impl Store {
    /// What is not as it must be: first by the engine's own checks, then by the rules that no constraint holds. All rules see
    /// the ledger as it is at one moment, also while others work.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn check_rows(&self) -> Result<Vec<Finding>, StoreError> {
        let mut conn = self.read.view().await?;
        let mut findings = match conn.engine() {
            Engine::Sqlite => check_file(&mut conn, "PRAGMA integrity_check").await?,
            Engine::Postgres => check_server(&mut conn).await?,
        };
        for rule in RULES {
            let mut places = query(rule.places);
            if rule.places.contains("$1") {
                places = places.bind(self.now());
            }
            let rows = places.fetch_all(&mut conn).await?;
            let places = rows.iter().map(|row| row.try_get(0_usize)).collect::<Result<_, _>>()?;
            findings.extend(Finding::of(rule.what, places, rule.remedy));
        }
        Ok(findings)
    }

    /// The same without the rules, and without the content of indexes: it takes a part of the time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn quick_check(&self) -> Result<Vec<Finding>, StoreError> {
        let mut conn = self.read.view().await?;
        match conn.engine() {
            Engine::Sqlite => check_file(&mut conn, "PRAGMA quick_check").await,
            Engine::Postgres => check_server(&mut conn).await,
        }
    }
}

/// The file itself, its CHECKs and its references.
async fn check_file(conn: &mut Conn, pragma: &'static str) -> Result<Vec<Finding>, StoreError> {
    const REMEDY: &str =
        "stop everything that uses it and restore a backup; `sqlite3 FILE .recover` reads what is left";
    let mut said: Vec<String> = query_scalar(pragma).fetch_all(&mut *conn).await?;
    said.retain(|words| words != "ok");
    let mut findings: Vec<_> = Finding::of("the file is damaged", said, REMEDY).into_iter().collect();
    let broken = query("PRAGMA foreign_key_check").fetch_all(conn).await?;
    let place = |row: &crate::store::engine::db::Row| {
        Ok::<_, StoreError>(format!("a row of {} refers to one of {}", row.text("table")?, row.text("parent")?))
    };
    let places = broken.iter().map(place).collect::<Result<_, _>>()?;
    findings.extend(Finding::of("a row refers to one that is not there", places, REMEDY));
    Ok(findings)
}

/// Whether the server holds all constraints. It checks each row when it is written; that is not repeated here.
async fn check_server(conn: &mut Conn) -> Result<Vec<Finding>, StoreError> {
    const SCHEMA: &str = "restore a dump into an empty database, or ask who changed the schema";
    let mut findings = Vec::new();
    for (what, text) in [
        (
            "a constraint is not held for all rows",
            r"-- check::constraints
              SELECT CAST(c.conname AS TEXT)
              FROM pg_constraint AS c
              WHERE c.connamespace = CAST(current_schema() AS REGNAMESPACE) AND NOT c.convalidated",
        ),
        (
            "an index is not usable",
            r"-- check::indexes
              SELECT CAST(c.relname AS TEXT)
              FROM pg_index AS i
              JOIN pg_class AS c ON c.oid = i.indexrelid
              WHERE c.relnamespace = CAST(current_schema() AS REGNAMESPACE) AND NOT i.indisvalid",
        ),
        (
            "references of a table are not held",
            r"-- check::triggers
              SELECT CAST(c.relname AS TEXT)
              FROM pg_trigger AS t
              JOIN pg_class AS c ON c.oid = t.tgrelid
              WHERE c.relnamespace = CAST(current_schema() AS REGNAMESPACE) AND t.tgisinternal AND t.tgenabled = 'D'
              GROUP BY c.relname",
        ),
    ] {
        findings.extend(Finding::of(what, query_scalar(text).fetch_all(&mut *conn).await?, SCHEMA));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{job::JobState, pool::Limits},
        store::tests::{Ledger, answered, ask, batch, claim, done, ended, ledger, settle},
    };

    async fn worked() -> Ledger {
        let l = ledger().await;
        l.submit(batch("b"), 5).await;
        let me = l.store.enlist("{}".into()).await.unwrap();
        for job in claim(&l.store, 2).await {
            let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
            l.store.end(ended(permit.call, answered())).await.unwrap();
            l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
        }
        let open = claim(&l.store, 1).await.remove(0);
        l.store.permit(ask(&open, Limits::default())).await.unwrap().unwrap();
        assert_eq!(l.store.check_rows().await.unwrap(), [], "all is well while it is worked");
        l.store.leave(me).await.unwrap();
        l
    }

    #[tokio::test]
    async fn a_ledger_that_was_changed_by_others_is_found_out() {
        // What is changed, and what is found.
        for (change, words, place) in [
            ("UPDATE batches SET spent = spent + 5", "what a batch spent", "b: 10005 instead of 10000 micro-USD"),
            ("UPDATE batches SET reserved = 0", "what a batch reserves", "b: 0 instead of 5000 micro-USD"),
            ("UPDATE spending SET spent = 1", "what an account spent in a quarter", "account acc, quarter "),
            ("DELETE FROM spending", "what an account spent in a quarter", "account acc, quarter "),
            ("UPDATE jobs SET after = 999 WHERE ordinal = 5", "waits for the end of one that is not there", "b: k5"),
            (
                "UPDATE jobs SET waits_for = unhex('00') WHERE ordinal = 4",
                "waits for a call that is not there",
                "b: k4",
            ),
            ("UPDATE jobs SET seq = 99 WHERE ordinal = 2", "under a number", "b: k2"),
            (
                "UPDATE jobs SET due_at = due_at + 900000 WHERE state = 'running'",
                "a process that is not registered",
                "b: k3",
            ),
            (
                "UPDATE calls SET slot_until = sent_at + 900000, process = 77 WHERE state = 'sent'",
                "holds its slot",
                "b: k3",
            ),
            ("UPDATE calls SET generation = 4 WHERE state = 'sent'", "of a later generation", "b: k3"),
            (
                "UPDATE calls SET state = 'lost' WHERE state = 'answered' AND job = (SELECT min(id) FROM jobs)",
                "an answer is kept of a call that was not answered",
                "b: k1",
            ),
            (
                "UPDATE jobs SET state = 'queued', due_at = 1 WHERE ordinal = 1; DELETE FROM answers",
                "whose answer is not kept",
                "b: k1",
            ),
        ] {
            let l = worked().await;
            for statement in change.split("; ") {
                query(statement).execute(&mut l.other().await).await.unwrap();
            }
            let found = l.store.check_rows().await.unwrap();
            assert_eq!(found.len(), 1, "{change}: {found:?}");
            assert!(found[0].what.contains(words) && found[0].places[0].starts_with(place), "{change}: {found:?}");
            assert!(found[0].count > 0 && !found[0].remedy.is_empty());
        }
    }

    #[tokio::test]
    async fn rows_that_refer_to_nothing_are_found() {
        let l = worked().await;
        let mut other = l.other().await;
        query("PRAGMA foreign_keys = OFF").execute(&mut other).await.unwrap();
        query("DELETE FROM jobs WHERE ordinal = 1").execute(&mut other).await.unwrap();
        let found = l.store.check_rows().await.unwrap();
        let broken = found.iter().find(|found| found.what == "a row refers to one that is not there").unwrap();
        assert!(broken.places.contains(&"a row of calls refers to one of jobs".to_owned()), "{found:?}");
    }

    crate::store::harness::on_postgres_too! {
        a_ledger_that_was_changed_by_others_is_found_out,
    }
}
