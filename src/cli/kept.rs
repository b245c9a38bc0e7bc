//! Kept answers, and how long each batch's `keep_answers` still keeps them.

use super::words::{bytes, command, counted, grouped, moment};
use crate::{app::views::AnswersView, domain::environment::NamedLedger};

/// The text below the ledger's line.
pub(super) fn words(view: &AnswersView, ledger: NamedLedger<'_>) -> String {
    let AnswersView { all, past, next, next_at } = view;
    if all.count == 0 {
        return String::new();
    }
    let mut out = format!("  {} kept, about {} compressed\n", counted(all.count, "answer"), bytes(all.bytes));
    if past.count > 0 {
        let these = if past.count == all.count { "all".into() } else { grouped(past.count) };
        let size = bytes(past.bytes);
        out.push_str(&format!(
            "  {these} past keep_answers, about {size}: `{}` frees them now, else the next run\n",
            command(ledger, &["prune"])
        ));
    }
    if let Some((next, at)) = next.zip(*next_at) {
        let (answers, size) = (counted(next.count, "answer"), bytes(next.bytes));
        out.push_str(&format!("  {answers}, about {size}, can go from {} on\n", moment(at.0)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::views::{KeptView, Moment},
        domain::environment::{Environment, LedgerChoice},
    };

    fn shown(view: &AnswersView) -> String {
        words(view, (&LedgerChoice::default(), Environment::Live))
    }

    #[test]
    fn it_tells_what_can_go_and_what_comes_next() {
        let of = |batches: &[(Option<i64>, u64, u64)]| {
            AnswersView::of(
                batches.iter().map(|(at, count, bytes)| (*at, KeptView { count: *count, bytes: *bytes })),
                100,
            )
        };
        assert_eq!(shown(&of(&[])), "");
        let view = of(&[(Some(50), 1_000, 4_000_000), (Some(300), 7, 700), (Some(200), 1, 90), (None, 2, 210)]);
        assert_eq!(view.past, KeptView { count: 1_000, bytes: 4_000_000 });
        assert_eq!((view.next_at, view.next), (Some(Moment(200)), Some(KeptView { count: 1, bytes: 90 })));
        let message = shown(&view);
        assert!(
            message.starts_with("  1,010 answers kept, about 4.0 MB compressed\n  1,000 past keep_answers"),
            "{message}"
        );
        assert!(message.contains("\n  1 answer, about 90 B, can go from "), "{message}");
        let past = shown(&of(&[(Some(0), 3, 30)]));
        assert!(past.contains("\n  all past keep_answers, about 30 B: "), "{past}");
    }
}
