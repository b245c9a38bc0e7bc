//! The views of the schema that others may read: the same on all engines.

/// A view.
#[derive(Debug)]
pub struct LedgerView {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub row: &'static str,
    /// Its columns, in their order.
    pub columns: &'static [ViewColumn],
}

/// A column of a view: its name, its type, and what it holds.
pub type ViewColumn = (&'static str, ViewType, &'static str);

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewType {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A moment, as text.
    Time,
}

use ViewType::{Number, Text, Time, Whole};

/// All views.
pub const LEDGER_VIEWS: &[LedgerView] = &[
    LedgerView {
        name: "v_batches",
        row: "One row a batch.",
        columns: &[
            ("batch", Text, "The name of the batch."),
            ("definition", Text, "The name of its definition."),
            ("task", Text, "`transcribe`, `synthesize`, …"),
            ("environment", Text, "`live` or `sandbox`."),
            ("state", Text, "`submitting`, `open`, `paused`, `cancelled` or `finished`."),
            ("pause_kind", Text, "Why it is paused; NULL if it is not."),
            ("pause_reason", Text, "The same in words."),
            ("lines", Whole, "Its lines."),
            ("unfinished", Whole, "Lines that are queued, running or awaited."),
            ("succeeded", Whole, "Lines in this state."),
            ("suspect", Whole, "Lines in this state."),
            ("failed", Whole, "Lines in this state."),
            ("skipped", Whole, "Lines in this state."),
            ("cancelled", Whole, "Lines in this state."),
            ("cost_usd", Number, "What its ended calls cost at list price."),
            ("reserved_usd", Number, "What its open calls may cost."),
            ("max_spend_usd", Number, "The most that it may cost; NULL: no limit."),
            ("submitted_at", Time, "When it was submitted last."),
            ("started_at", Time, "When its first line was worked."),
            ("finished_at", Time, "When its last line ended; NULL while some are unfinished."),
        ],
    },
    LedgerView {
        name: "v_lines",
        row: "One row a line; of speech, one for each of its voices and formats. Changed lines that were replaced are left out, and those that are not asked for any more.",
        columns: &[
            ("batch", Text, "The name of the batch."),
            ("line", Whole, "Its line of the manifest."),
            ("key", Text, "Its key."),
            ("variant", Text, "Voice and format of speech; empty where a line has one output."),
            ("task", Text, "`transcribe`, `synthesize`, …"),
            ("state", Text, "[Its state](../concepts/ledger.md#the-life-of-a-job), as `succeeded`."),
            ("wanted", Text, "`yes`, or `gone`: the manifest does not have it any more."),
            ("model", Text, "The model that it asks for."),
            ("language", Text, "The language that it asks for."),
            ("voice_id", Text, "The voice that it asks for; NULL for transcripts."),
            ("audio_seconds", Number, "The length of the recording, or of the speech; NULL: unknown."),
            ("characters", Whole, "The length of its text; NULL for transcripts."),
            ("cost_usd", Number, "What its ended calls cost at list price, in all tries."),
            ("tries", Whole, "Tries that were used up since it was last begun."),
            ("billed_calls", Whole, "Calls that may have been billed."),
            ("error_kind", Text, "[Why it failed](errors.md) or is suspect."),
            ("notes", Text, "Notes, joined by `;`."),
            ("request_id", Text, "The vendor's id of the request that counts."),
            ("submitted_at", Time, "When it was submitted."),
            ("started_at", Time, "When it was first worked."),
            ("finished_at", Time, "When it ended."),
        ],
    },
    LedgerView {
        name: "v_calls",
        row: "One row a call that may cost money.",
        columns: &[
            ("batch", Text, "The name of the batch."),
            ("key", Text, "The key of its line."),
            ("variant", Text, "The variant of its line."),
            ("part", Whole, "Which part of the text it buys, from 0; 0 for transcripts."),
            ("environment", Text, "`live` or `sandbox`."),
            ("account", Text, "A short hash of address and key of the API."),
            ("pool", Text, "The pool whose limits it counts for."),
            ("model", Text, "The model."),
            ("language", Text, "The language."),
            ("state", Text, "[Its state](../concepts/ledger.md#calls), as `answered`."),
            ("why", Text, "`first`, `unknown` (the outcome of another was unknown) or `retry`."),
            ("audio_seconds", Number, "The audio that it buys; NULL for speech, or if unknown."),
            ("characters", Whole, "The characters that it buys; NULL for transcripts."),
            ("cost_usd", Number, "What it cost at list price; 0 while it is open."),
            ("reserved_usd", Number, "What it may cost; 0 once it has ended."),
            ("status", Whole, "The HTTP status, of a call that failed."),
            ("error_kind", Text, "[Why it failed](errors.md)."),
            ("request_id", Text, "The vendor's id of the request."),
            ("sent_at", Time, "When it was sent."),
            ("ended_at", Time, "When it ended; NULL while it is open."),
            ("seconds", Number, "From one to the other."),
        ],
    },
    LedgerView {
        name: "v_spend",
        row: "One row a quarter of an hour in which an account's calls cost or may cost something.",
        columns: &[
            ("account", Text, "A short hash of address and key of the API."),
            ("environment", Text, "`live` or `sandbox`."),
            ("from_at", Time, "When the quarter begins."),
            ("cost_usd", Number, "What calls that were sent in it cost at list price."),
            ("reserved_usd", Number, "What open calls that were sent in it may cost."),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::db::{Conn, query, query_scalar};
    use crate::store::engine::tables::{Kind, Table};
    use crate::{
        domain::{job::JobState, pool::Limits},
        store::tests::{answered, ask, batch, claim, done, ended, ledger, settle},
    };

    #[tokio::test]
    async fn the_schema_has_the_views_that_are_described() {
        let l = ledger().await;
        let mut conn = l.other().await;
        for view in LEDGER_VIEWS {
            let found = Table::of(&mut conn, view.name).await.unwrap();
            let found: Vec<_> = found.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
            let kind = |of: ViewType| match of {
                Text | Time => Kind::Text,
                Whole => Kind::Int,
                Number => Kind::Real,
            };
            let known: Vec<_> = view.columns.iter().map(|(name, of, _)| (*name, kind(*of))).collect();
            assert_eq!(found, known, "{}", view.name);
        }
    }

    /// A row as the text of its values.
    async fn rows(conn: &mut Conn, text: &'static str) -> Vec<String> {
        query_scalar(text).fetch_all(conn).await.unwrap()
    }

    #[tokio::test]
    async fn the_views_say_what_status_and_report_say() {
        let l = ledger().await;
        l.submit(batch("b"), 4).await;
        let me = l.store.enlist("{}".into()).await.unwrap();
        for (job, state) in claim(&l.store, 2).await.into_iter().zip([JobState::Succeeded, JobState::Failed]) {
            let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
            l.store.end(ended(permit.call, answered())).await.unwrap();
            l.store.settle(settle(&job, done(state))).await.unwrap();
        }
        let open = claim(&l.store, 1).await.remove(0);
        l.store.permit(ask(&open, Limits::default())).await.unwrap().unwrap();
        let mut conn = l.other().await;
        query("UPDATE batches SET spec = $1")
            .bind(r#"{"asked":{"options":{"model":"pulse","language":"en"}}}"#)
            .execute(&mut conn)
            .await
            .unwrap();
        query("UPDATE jobs SET overrides = $1, submitted_at = 1796042029007 WHERE ordinal = 4")
            .bind(r#"{"language":"hi"}"#)
            .execute(&mut conn)
            .await
            .unwrap();
        let batches = rows(
            &mut conn,
            "SELECT batch || ' ' || state || ' ' || CAST(lines AS TEXT) || ' ' || CAST(unfinished AS TEXT) || ' ' || CAST(succeeded AS TEXT)
               || ' ' || CAST(failed AS TEXT) || ' ' || CAST(cost_usd AS TEXT) || ' ' || CAST(reserved_usd AS TEXT) FROM v_batches",
        );
        assert_eq!(batches.await, ["b open 4 2 1 1 0.01 0.005"]);
        let lines = rows(
            &mut conn,
            "SELECT key || ' ' || state || ' ' || model || ' ' || language || ' ' || CAST(cost_usd AS TEXT) || ' ' || CAST(tries AS TEXT)
               || ' ' || CAST(billed_calls AS TEXT) || ' ' || coalesce(error_kind, '-') FROM v_lines ORDER BY line",
        );
        assert_eq!(
            lines.await,
            [
                "k1 succeeded pulse en 0.005 0 1 -",
                "k2 failed pulse en 0.005 0 1 bad_request",
                "k3 running pulse en 0.0 0 0 -".replace("0.0 ", zero(&l.store)).as_str(),
                "k4 queued pulse hi 0.0 0 0 -".replace("0.0 ", zero(&l.store)).as_str(),
            ]
        );
        let at = rows(&mut conn, "SELECT submitted_at FROM v_lines WHERE key = 'k4'").await;
        assert_eq!(at, ["2026-11-30T12:33:49.007Z"]);
        let calls = rows(
            &mut conn,
            "SELECT key || ' ' || state || ' ' || model || ' ' || pool || ' ' || CAST(audio_seconds AS TEXT) FROM v_calls ORDER BY key",
        );
        let calls: Vec<String> = calls.await.into_iter().map(|call| call.replace("60.0", "60")).collect();
        assert_eq!(calls, ["k1 answered pulse pulse 60", "k2 answered pulse pulse 60", "k3 sent pulse pulse 60"]);
        let spend =
            rows(&mut conn, "SELECT account || ' ' || environment || ' ' || CAST(cost_usd AS TEXT) FROM v_spend");
        assert_eq!(spend.await, ["acc live 0.01"]);
        l.store.leave(me).await.unwrap();
    }

    /// How the engine writes a zero.
    fn zero(store: &crate::store::Store) -> &'static str {
        if matches!(store.read, crate::store::engine::db::Readers::Sqlite(_)) { "0.0 " } else { "0 " }
    }

    crate::store::harness::on_postgres_too! {
        the_schema_has_the_views_that_are_described,
        the_views_say_what_status_and_report_say,
    }
}
