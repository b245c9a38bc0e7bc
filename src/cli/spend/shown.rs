//! The amounts spent, as a table.

use super::{
    super::words::{Money, counted, fact, grouped, shorten, table},
    By,
};
use crate::{
    domain::cost::Rates,
    store::{SpendGroup, SpendSums, Spent},
};

const EMPTY: &str = "(empty)";
const NO_COLUMN: &str = "(no such column)";

/// The amounts that `lines` and `why` write.
pub(super) fn amounts(spent: &Spent) -> impl Iterator<Item = i64> {
    let all = spent.groups.iter().map(|group| &group.sums).chain([&spent.others.1, &spent.total]);
    all.flat_map(|sums| {
        let SpendSums { cost, first, unknown, retry, lost, surplus, replaced, reserved, .. } = sums;
        [cost, first, unknown, retry, lost, surplus, replaced, reserved].map(|amount| *amount)
    })
}

/// One row per group, and the total.
pub(super) fn lines(spent: &Spent, by: &By, money: Money, width: usize) -> String {
    // Minutes belong to transcriptions, characters to syntheses. A column of zeros is left out.
    let spoken = spent.total.characters > 0;
    let heard = spent.total.audio_ms > 0 || !spoken;
    let row = |name: String, sums: &SpendSums| {
        let mut cells = vec![name, grouped(sums.lines), grouped(sums.billed)];
        cells.extend(heard.then(|| minutes(sums.audio_ms)));
        cells.extend(spoken.then(|| grouped(sums.characters)));
        cells.extend([money.words(sums.cost), money.words(sums.unknown.saturating_add(sums.retry))]);
        cells
    };
    // Numbers are never cut; names may be.
    let room = width.saturating_sub(60).max(16);
    let mut rows: Vec<_> = spent.groups.iter().map(|group| row(shorten(&name(group), room), &group.sums)).collect();
    let (n, sums) = &spent.others;
    if *n > 0 {
        let (at, name) = match by {
            By::Day => (0, format!("{} before", counted(*n, "day"))),
            _ => (rows.len(), if *n == 1 { "1 other".into() } else { format!("{} others", grouped(*n)) }),
        };
        rows.insert(at, row(name, sums));
    }
    rows.push(row("total".into(), &spent.total));
    let mut header = vec![by_header(by), "lines", "billed calls"];
    header.extend(heard.then_some("minutes"));
    header.extend(spoken.then_some("characters"));
    header.extend(["cost", "not for first calls"]);
    table(&header, &rows, &[1, 2, 3, 4, 5, 6], usize::MAX)
}

fn by_header(by: &By) -> &str {
    match by {
        By::Column(column) => column,
        other => other.kind(),
    }
}

fn name(group: &SpendGroup) -> String {
    match group.name.as_deref() {
        None => NO_COLUMN.into(),
        Some("") => EMPTY.into(),
        Some(name) => name.to_owned(),
    }
}

/// `50,100.5`
fn minutes(ms: u64) -> String {
    let tenths = (ms + 3_000) / 6_000;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// The cost by reason, and a note about these numbers.
pub(super) fn why(total: &SpendSums, money: Money, rates: &Rates) -> String {
    let mut facts = Vec::new();
    let mut print = |name: &str, parts: &[(i64, &str)]| {
        let parts = parts.iter().filter(|(cost, _)| *cost > 0).enumerate();
        facts.extend(parts.map(|(nth, (cost, words))| {
            fact(if nth == 0 { name } else { "" }, format!("{} {words}", money.words(*cost)))
        }));
    };
    print(
        "why",
        &[
            (total.first, "for first calls"),
            (total.unknown, "for calls after an unknown outcome"),
            (total.retry, "for calls after a useless answer, or by `retry`"),
        ],
    );
    print(
        "not used",
        &[
            (total.lost, "of it for calls that were given up, and may have been billed"),
            (total.surplus, "of it for answers that came after another"),
            (total.replaced, "of it for answers set aside to be paid for again"),
        ],
    );
    print("open", &[(total.reserved, "more at most for calls that are open")]);
    facts.push(fact("prices", format!("an estimate at list price; the price table is of {}", rates.as_of)));
    facts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_amounts_are_written_in_one_way() {
        let sums = |cost| SpendSums { lines: 1, billed: 1, cost, first: cost, ..SpendSums::default() };
        let of = |cost| SpendGroup { name: Some("pulse".into()), sums: sums(cost) };
        let shown = |costs: &[i64]| {
            let groups: Vec<_> = costs.iter().map(|cost| of(*cost)).collect();
            let spent = Spent { groups, total: sums(costs.iter().sum()), ..Spent::default() };
            let money = Money::of(amounts(&spent));
            lines(&spent, &By::Model, money, 100) + &why(&spent.total, money, &Rates::default())
        };
        let exact = shown(&[653, 55_000]);
        assert!(exact.contains("$0.055653 for first calls") && !exact.contains("$0.06"), "{exact}");
        let cents = shown(&[50_000, 55_000]);
        assert!(cents.contains("$0.11 for first calls") && !cents.contains("$0.105000"), "{cents}");
    }

    #[test]
    fn what_was_heard_and_what_was_spoken_have_their_columns() {
        let group = |name: &str, audio_ms, characters| SpendGroup {
            name: Some(name.into()),
            sums: SpendSums { lines: 1, billed: 2, audio_ms, characters, cost: 20_000, ..SpendSums::default() },
        };
        let header = |groups: Vec<SpendGroup>| {
            let mut spent = Spent { groups, ..Spent::default() };
            spent.groups.iter().for_each(|group| spent.total += group.sums);
            let shown = lines(&spent, &By::Model, Money::of(amounts(&spent)), 100);
            let cells = shown.lines().next().unwrap_or_default().split("  ").map(str::trim);
            cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|")
        };
        let (heard, spoken) = (group("pulse", 60_000, 0), group("lightning_v3.1", 0, 1_250));
        assert_eq!(header(vec![heard.clone()]), "model|lines|billed calls|minutes|cost|not for first calls");
        assert_eq!(header(vec![spoken.clone()]), "model|lines|billed calls|characters|cost|not for first calls");
        assert_eq!(header(vec![heard, spoken]), "model|lines|billed calls|minutes|characters|cost|not for first calls");
    }
}
