//! Answers that are kept: how long yet, by each batch's own `keep_answers`.

use serde_json::{Value, json};

use super::{
    error::CliError,
    words::{bytes, counted, grouped, moment, rfc3339},
};
use crate::{
    domain::batch::BatchSpec,
    store::{BatchRow, KeptAnswers, Store},
};

/// The kept answers of a ledger, and what of them can go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PrunableAnswers {
    /// All of them.
    all: Heap,
    /// Those of batches that finished longer ago than their `keep_answers`.
    past: Heap,
    /// When the next ones will be, and which.
    next: Option<(i64, Heap)>,
}

/// So many answers, and their bytes in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Heap {
    answers: u64,
    bytes: u64,
}

/// When the answers of a batch have been kept long enough; `None` as long as it is not finished.
pub(super) fn kept_until(row: &BatchRow) -> Option<i64> {
    let spec: BatchSpec = serde_json::from_str(&row.spec).ok()?;
    let keep = i64::try_from(spec.run.keep_answers.as_millis()).unwrap_or(i64::MAX);
    row.finished_at.map(|at| at.saturating_add(keep))
}

impl PrunableAnswers {
    pub(super) async fn look(store: &Store) -> Result<Self, CliError> {
        let batches = store.batches().await?;
        let until = |kept: &KeptAnswers| batches.iter().find(|row| row.id == kept.batch).and_then(kept_until);
        let kept = store.kept_by_batch().await?;
        Ok(Self::of(kept.into_iter().map(|kept| (until(&kept), kept.answers, kept.bytes)), store.clock().now()))
    }

    fn of(batches: impl Iterator<Item = (Option<i64>, u64, u64)>, now: i64) -> Self {
        let mut kept = Self::default();
        for (until, answers, bytes) in batches {
            let one = Heap { answers, bytes };
            kept.all.add(one);
            match until {
                Some(at) if at <= now => kept.past.add(one),
                Some(at) if kept.next.as_ref().is_none_or(|(next, _)| at < *next) => kept.next = Some((at, one)),
                _ => {}
            }
        }
        kept
    }

    /// Below the line of the ledger.
    pub(super) fn words(&self) -> String {
        if self.all.answers == 0 {
            return String::new();
        }
        let mut out =
            format!("  {} kept, about {} compressed\n", counted(self.all.answers, "answer"), bytes(self.all.bytes));
        if self.past.answers > 0 {
            let Heap { answers, bytes: size } = self.past;
            let these = if answers == self.all.answers { "all".into() } else { grouped(answers) };
            let size = bytes(size);
            out.push_str(&format!(
                "  {these} past keep_answers, about {size}: `wavebatch prune` frees them now, else the next run\n"
            ));
        }
        if let Some((at, next)) = &self.next {
            let (answers, size) = (counted(next.answers, "answer"), bytes(next.bytes));
            out.push_str(&format!("  {answers}, about {size}, can go from {} on\n", moment(*at)));
        }
        out
    }

    pub(super) fn in_json(&self) -> Value {
        let (at, next) = self.next.unzip();
        json!({
            "count": self.all.answers,
            "bytes": self.all.bytes,
            "prunable": self.past.in_json(),
            "next": next.map(Heap::in_json),
            "next_at": at.and_then(rfc3339),
        })
    }
}

impl Heap {
    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.bytes += other.bytes;
    }

    fn in_json(self) -> Value {
        json!({ "count": self.answers, "bytes": self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_can_go_and_what_comes_next() {
        assert_eq!(PrunableAnswers::of(std::iter::empty(), 0).words(), "");
        let batches = [(Some(50), 1_000, 4_000_000), (Some(300), 7, 700), (Some(200), 1, 90), (None, 2, 210)];
        let kept = PrunableAnswers::of(batches.into_iter(), 100);
        assert_eq!(kept.past, Heap { answers: 1_000, bytes: 4_000_000 });
        assert_eq!(kept.next, Some((200, Heap { answers: 1, bytes: 90 })));
        let words = kept.words();
        assert!(
            words.starts_with("  1,010 answers kept, about 4.0 MB compressed\n  1,000 past keep_answers"),
            "{words}"
        );
        assert!(words.contains("\n  1 answer, about 90 B, can go from "), "{words}");
        let past = PrunableAnswers::of([(Some(0), 3, 30)].into_iter(), 100);
        assert!(past.words().contains("\n  all past keep_answers, about 30 B: "), "{}", past.words());
    }
}
