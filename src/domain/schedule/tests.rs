//! What an expression matches, and which runs are due.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

pub(super) fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

pub(super) fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(text: &str, window: Option<u64>) -> Schedule {
    Schedule {
        cron: cron(text),
        zone: TimeZone::get("Asia/Kolkata").unwrap(),
        window: window.map(|hours| Duration::from_secs(hours * 3_600)),
        missed: Missed::Run,
        day: Day::Before,
        dated: true,
        dated_lines: true,
        one_batch: false,
    }
}

/// The next `n` matches, as wall-clock times in UTC.
fn civil(text: &str, from: &str, n: usize) -> Vec<String> {
    let cron = cron(text);
    let next = |at: &Timestamp| cron.after(*at, &TimeZone::UTC);
    let from = moment(from).checked_sub(1.second()).unwrap();
    let times = std::iter::successors(next(&from), next).take(n);
    times.map(|at| at.strftime("%Y-%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn fields_are_read_as_cron_reads_them() {
    for (text, from, times) in [
        ("0 2 * * *", "2026-11-20T02:00:00Z", ["2026-11-20T02:00", "2026-11-21T02:00"]),
        ("*/20 9-17 * * mon-fri", "2026-11-20T17:30:00Z", ["2026-11-20T17:40", "2026-11-23T09:00"]),
        ("5,35 10-20/5 * * *", "2026-11-20T10:06:00Z", ["2026-11-20T10:35", "2026-11-20T15:05"]),
        ("0 0 * JAN,dec Sun", "2026-11-20T00:00:00Z", ["2026-12-06T00:00", "2026-12-13T00:00"]),
        ("0 0 * * 7", "2026-11-20T00:00:00Z", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * sat-sun", "2026-11-20T00:00:00Z", ["2026-11-21T00:00", "2026-11-22T00:00"]),
        ("0 0 31 * *", "2026-02-01T00:00:00Z", ["2026-03-31T00:00", "2026-05-31T00:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("@daily", "2026-12-31T00:01:00Z", ["2027-01-01T00:00", "2027-01-02T00:00"]),
        ("@Hourly", "2026-12-31T23:30:00Z", ["2027-01-01T00:00", "2027-01-01T01:00"]),
        ("@weekly", "2026-11-20T00:00:00Z", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("@monthly", "2026-11-20T00:00:00Z", ["2026-12-01T00:00", "2027-01-01T00:00"]),
        ("@yearly", "2026-11-20T00:00:00Z", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        // Both days restricted: either matches. One of them a star, even with a step: both must match.
        ("0 0 13 * fri", "2026-11-09T00:00:00Z", ["2026-11-13T00:00", "2026-11-20T00:00"]),
        ("0 0 1 * mon", "2026-11-24T00:00:00Z", ["2026-11-30T00:00", "2026-12-01T00:00"]),
        ("0 0 */2 * fri", "2026-11-21T00:00:00Z", ["2026-11-27T00:00", "2026-12-11T00:00"]),
    ] {
        assert_eq!(civil(text, from, 2), times, "{text}");
    }
    assert_eq!(cron(" 0  2 * * * ").to_string(), "0 2 * * *");
    // The leap day must be a Sunday or Saturday, and 2100 has none.
    assert_eq!(civil("0 0 29 2 */6", "2089-01-01T00:00:00Z", 1), ["2116-02-29T00:00"]);
}

#[test]
fn a_fault_says_which_field_and_what_is_allowed() {
    let steps = "lists (1,3), ranges (1-5), steps (*/2, 1-5/2)";
    for (text, message) in [
        ("60 2 * * *", format!("minute `60`: 60 is not between 0 and 59; allowed: *, 0 to 59, {steps}")),
        ("0 24 * * *", format!("hour `24`: 24 is not between 0 and 23; allowed: *, 0 to 23, {steps}")),
        ("0 2 0 * *", format!("day of the month `0`: 0 is not between 1 and 31; allowed: *, 1 to 31, {steps}")),
        ("0 2 * Janu *", format!("month `Janu`: `Janu` is no value; allowed: *, 1 to 12 or jan to dec, {steps}")),
        (
            "0 2 * * 8",
            format!("day of the week `8`: 8 is not between 0 and 7; allowed: *, 0 to 7 or sun to sat, {steps}"),
        ),
    ] {
        assert_eq!(text.parse::<Cron>().unwrap_err().to_string(), message);
    }
    for (text, message) in [
        ("0 22-2 * * *", "hour `22-2`: `22-2` goes backwards; write 22-23,0-2;"),
        ("0 0 * * sat-mon", "`sat-mon` goes backwards; write 6-6,0-1;"),
        ("5/15 * * * *", "a step is for * or a range; write 5-59/15;"),
        ("*/0 * * * *", "a step of 0 goes nowhere"),
        ("*/90 * * * *", "a step of 90 leaves 0 to 59 at once"),
        ("*/x * * * *", "`x` is no step"),
        ("1,, * * * *", "a value is missing"),
        ("-5 * * * *", "a value is missing"),
        ("+5 * * * *", "`+5` is no value"),
        ("9999 * * * *", "is not between 0 and 59"),
        ("mon * * * *", "`mon` is no value"),
        ("0 0 30 2 *", "`0 0 30 2 *` never comes: none of its months has such a day"),
        ("0 0 31 2,4,sep *", "never comes"),
        (
            "0 0 2 * * *",
            "has 6 fields and needs five: minute, hour, day of the month, month, day of the week, e.g. \"0 2 * * *\"; there are no seconds and no years",
        ),
        ("2am", "has 1 field and needs five"),
        ("", "has 0 fields and needs five"),
        ("@reboot", "`@reboot` is not known; known: @yearly, @annually, @monthly, @weekly, @daily"),
    ] {
        let fault = text.parse::<Cron>().unwrap_err().to_string();
        assert!(fault.contains(message), "{text}: {fault}");
    }
    assert!("0 0 30 2 mon".parse::<Cron>().is_ok(), "a Monday will do");
}

#[test]
fn the_period_is_the_shortest_there_is() {
    for (text, minutes) in [
        ("* * * * *", 1),
        ("*/15 * * * *", 15),
        ("*/25 * * * *", 10),
        ("0 2 * * *", 1_440),
        ("0 2 * * 1-5", 1_440),
        ("0 2 * * 1", 7 * 1_440),
        ("0 0 1,31 * *", 1_440),
        ("0 0 1 * *", 28 * 1_440),
        ("50 23 * * *", 1_440),
        ("0 0,23 * * *", 60),
        ("0 0 29 2 *", 1_461 * 1_440),
    ] {
        assert_eq!(cron(text).period(), Duration::from_secs(minutes * 60), "{text}");
    }
}

#[test]
fn a_run_knows_its_date_and_its_window() {
    let night = schedule("0 2 * * *", Some(6));
    let next = night.next(moment("2026-11-20T20:00:00Z")).unwrap();
    assert_eq!((next.at, next.date), (moment("2026-11-20T20:30:00Z"), date(2026, 11, 20)));
    assert_eq!(next.window.unwrap().until, moment("2026-11-21T02:30:00Z"));
    assert_eq!(night.latest(next.at), Some(next), "a moment is until itself");
    let same = Schedule { day: Day::Same, window: None, ..night.clone() };
    assert_eq!(same.next(moment("2026-11-20T20:00:00Z")).unwrap().date, date(2026, 11, 21));
    let fixed = Schedule { day: Day::On(date(2024, 2, 29)), ..night.clone() };
    assert_eq!(fixed.next(moment("2026-11-20T20:00:00Z")).unwrap().date, date(2024, 2, 29));
    let dates: Vec<_> = night.upcoming(next.at).take(3).map(|run| run.date.day()).collect();
    assert_eq!(dates, [21, 22, 23]);
}

fn dates(runs: &[Occurrence]) -> Vec<String> {
    runs.iter().map(|run| run.date.to_string()).collect()
}

#[test]
fn on_its_moment_a_run_is_due_and_once() {
    let night = schedule("0 2 * * *", Some(6));
    let (eve, at) = (moment("2026-11-19T20:30:00Z"), moment("2026-11-20T20:30:00Z"));
    assert!(due(Some(eve), at.checked_sub(1.second()).unwrap(), &night).is_empty());
    let runs = due(Some(eve), at, &night);
    assert_eq!(runs, [night.latest(at).unwrap()]);
    assert!(due(Some(runs[0].at), at, &night).is_empty());
    assert!(due(Some(moment("2027-01-01T00:00:00Z")), at, &night).is_empty(), "a clock that was set back");
}

#[test]
fn each_missed_date_is_run_at_most_seven_oldest_first() {
    let night = schedule("0 2 * * *", Some(6));
    // 03:00 in Kolkata: tonight's window is open, and all runs get it.
    let (last, now) = (moment("2026-11-17T20:30:00Z"), moment("2026-11-20T21:30:00Z"));
    let runs = due(Some(last), now, &night);
    assert_eq!(dates(&runs), ["2026-11-18", "2026-11-19", "2026-11-20"]);
    let open = Window { from: moment("2026-11-20T20:30:00Z"), until: moment("2026-11-21T02:30:00Z") };
    assert!(runs.iter().all(|run| run.window == Some(open)));
    // At noon no window is open: the runs wait for the next one.
    let runs = due(Some(last), moment("2026-11-21T06:30:00Z"), &night);
    assert_eq!((runs.len(), runs[0].window.unwrap().from), (3, moment("2026-11-21T20:30:00Z")));
    let runs = due(Some(moment("2020-01-01T00:00:00Z")), now, &night);
    assert_eq!((runs.len(), dates(&runs)[0].as_str()), (7, "2026-11-14"));
    let free = Schedule { window: None, ..night };
    assert!(due(Some(last), now, &free).iter().all(|run| run.window.is_none()));
}

#[test]
fn of_one_date_only_the_last_run_is_made_up_for() {
    let hourly = Schedule { day: Day::Same, ..schedule("0 * * * *", None) };
    let runs = due(Some(moment("2026-11-19T12:30:00Z")), moment("2026-11-20T10:40:00Z"), &hourly);
    assert_eq!(dates(&runs), ["2026-11-19", "2026-11-20"]);
    assert_eq!(runs[0].at, moment("2026-11-19T17:30:00Z"), "23:00 in Kolkata");
    // A batch without dated lines makes up for all missed runs with one run.
    let plain = Schedule { dated_lines: false, ..hourly.clone() };
    assert_eq!(due(Some(moment("2020-01-01T00:00:00Z")), moment("2026-11-20T10:40:00Z"), &plain).len(), 1);
    let fixed = Schedule { day: Day::On(date(2026, 1, 1)), ..hourly };
    assert_eq!(due(Some(moment("2020-01-01T00:00:00Z")), moment("2026-11-20T10:40:00Z"), &fixed).len(), 1);
}

#[test]
fn a_window_is_open_without_a_break_where_the_next_begins_in_it() {
    let night = schedule("0 2 * * *", Some(6));
    let (at, noon) = (moment("2026-11-20T20:30:00Z"), moment("2026-11-21T06:30:00Z"));
    assert!(night.was_open_since(at, moment("2026-11-21T02:29:59Z")));
    assert!(!night.was_open_since(at, moment("2026-11-21T02:30:00Z")));
    assert!(!night.was_open_since(at, moment("2026-11-21T20:40:00Z")), "it was closed meanwhile");
    assert!(!night.was_open_since(noon, moment("2026-11-21T20:40:00Z")));
    for hours in [24, 30] {
        let always = schedule("0 2 * * *", Some(hours));
        assert!(always.was_open_since(at, moment("2026-12-01T06:30:00Z")), "{hours}");
    }
    assert!(schedule("0 2 * * *", None).was_open_since(at, noon));
    // Each hour by day, with a window of an hour; none at night.
    let day = schedule("0 9-17 * * *", Some(1));
    let nine = moment("2026-11-20T03:30:00Z");
    assert!(day.was_open_since(nine, moment("2026-11-20T12:29:00Z")));
    assert!(!day.was_open_since(nine, moment("2026-11-20T12:30:00Z")));
}

#[test]
fn one_of_every_minute_goes_back_by_days() {
    let often = schedule("* * * * *", None);
    let began = std::time::Instant::now();
    let runs = due(Some(moment("2020-01-01T00:00:00Z")), moment("2026-11-20T10:40:00Z"), &often);
    assert_eq!((runs.len(), dates(&runs)[6].as_str(), dates(&runs)[0].as_str()), (7, "2026-11-19", "2026-11-13"));
    assert_eq!(runs[5].at, moment("2026-11-19T18:29:00Z"), "23:59 in Kolkata");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}

#[test]
fn what_is_skipped_is_late_by_more_than_its_window() {
    let night = Schedule { missed: Missed::Skip, ..schedule("0 2 * * *", Some(6)) };
    let last = Some(moment("2026-11-15T20:30:00Z"));
    assert_eq!(dates(&due(last, moment("2026-11-21T02:29:59Z"), &night)), ["2026-11-20"]);
    assert!(due(last, moment("2026-11-21T02:30:00Z"), &night).is_empty());
    let free = Schedule { window: None, ..night };
    assert_eq!(due(last, moment("2026-11-20T20:39:59Z"), &free).len(), 1);
    assert!(due(last, moment("2026-11-20T20:40:00Z"), &free).is_empty());
    // A definition that never ran has missed nothing.
    let new = Schedule { missed: Missed::Run, ..free };
    assert!(due(None, moment("2026-11-21T06:30:00Z"), &new).is_empty());
    assert_eq!(due(None, moment("2026-11-20T20:31:00Z"), &new).len(), 1);
}

/// A field's text and its values.
fn any_field(least: u8, most: u8) -> impl Strategy<Value = (String, Vec<u8>)> {
    let one = (least..=most).prop_map(|value| (value.to_string(), vec![value]));
    let range = (least..=most, least..=most).prop_map(|(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        (format!("{a}-{b}"), (a..=b).collect())
    });
    let step =
        (1..=(most - least)).prop_map(move |step| (format!("*/{step}"), (least..=most).step_by(step.into()).collect()));
    let all = Just(("*".to_owned(), (least..=most).collect()));
    prop_oneof![
        one.clone(),
        range,
        step,
        all,
        (one.clone(), one).prop_map(|(a, b)| { (format!("{},{}", a.0, b.0), [a.1, b.1].concat()) })
    ]
}

/// The last run of each date, newest first, computed run by run.
fn step_by_step(newest: Occurrence, since: Timestamp, schedule: &Schedule) -> Vec<Occurrence> {
    let before = |run: &Occurrence| schedule.latest(run.at.checked_sub(1.second()).ok()?);
    let mut due = vec![newest];
    for run in std::iter::successors(before(&newest), before).take_while(|run| run.at > since) {
        match due.last() {
            Some(last) if last.date == run.date => {}
            _ if due.len() == MAX_MISSED => break,
            _ => due.push(run),
        }
    }
    due
}

proptest! {
    #[test]
    fn days_are_found_as_runs_are(
        minute in any_field(0, 59), hour in any_field(0, 23), day in any_field(1, 31), weekday in any_field(0, 6),
        now in 1_300_000_000_i64..2_200_000_000, back in 0_i64..900_000,
        zone in prop::sample::select(vec!["America/New_York", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"]),
    ) {
        let text = format!("{} {} {} * {}", minute.0, hour.0, day.0, weekday.0);
        let Ok(cron) = text.parse::<Cron>() else { return Ok(()) };
        let schedule = Schedule { cron, zone: TimeZone::get(zone).unwrap(), day: Day::Same, ..schedule("0 2 * * *", None) };
        let (now, since) = (Timestamp::from_second(now).unwrap(), Timestamp::from_second(now - back).unwrap());
        if let Some(newest) = schedule.latest(now).filter(|newest| newest.at > since) {
            prop_assert_eq!(dates_back(newest, since, &schedule), step_by_step(newest, since, &schedule), "{}", text);
        }
    }

    #[test]
    fn occurrences_increase_match_their_fields_and_leave_none_out(
        minute in any_field(0, 59), hour in any_field(0, 23), day in any_field(1, 31), month in any_field(1, 12),
        weekday in any_field(0, 6), start in 1_600_000_000_i64..2_200_000_000,
        zone in prop::sample::select(vec!["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]),
    ) {
        let text = format!("{} {} {} {} {}", minute.0, hour.0, day.0, month.0, weekday.0);
        let Ok(cron) = text.parse::<Cron>() else {
            prop_assert!(!day.0.starts_with('*'), "{text} should be read");
            return Ok(());
        };
        let either = !day.0.starts_with('*') && !weekday.0.starts_with('*');
        let matches = |at: jiff::civil::DateTime| {
            let has = |values: &[u8], value: i8| values.iter().any(|v| i16::from(*v) == i16::from(value));
            let days = [has(&day.1, at.day()), has(&weekday.1, at.weekday().to_sunday_zero_offset())];
            let on_day = if either { days[0] || days[1] } else { days[0] && days[1] };
            has(&minute.1, at.minute()) && has(&hour.1, at.hour()) && has(&month.1, at.month()) && on_day
        };
        let zone = TimeZone::get(zone).unwrap();
        let start = Timestamp::from_second(start).unwrap();
        let mut last = start;
        for _ in 0..20 {
            let Some(next) = cron.after(last, &zone) else { break };
            prop_assert!(next > last, "{text}");
            prop_assert_eq!(cron.until(next, &zone), Some(next));
            let just_before = next.checked_sub(1.nanosecond()).unwrap();
            prop_assert!(cron.until(just_before, &zone).is_none_or(|before| before <= last), "{}", text);
            let civil = zone.to_datetime(next);
            let after_gap = zone.to_datetime(next.checked_sub(1.minute()).unwrap()) != civil.checked_sub(1.minute()).unwrap();
            prop_assert!(matches(civil) || after_gap, "{text}: {civil}");
            prop_assert_eq!((civil.second(), civil.subsec_nanosecond()), (0, 0));
            // Minute by minute, no time in between matches that the wall clock shows for the first time.
            let mut at = last.checked_add(1.minute()).unwrap();
            at = Timestamp::from_second(at.as_second() / 60 * 60).unwrap();
            for _ in 0..500 {
                if at >= next { break }
                let civil = zone.to_datetime(at);
                let first = zone.to_ambiguous_timestamp(civil).earlier().unwrap() == at;
                prop_assert!(!(first && matches(civil)), "{text}: {civil} was left out");
                at = at.checked_add(1.minute()).unwrap();
            }
            last = next;
        }
    }
}
