//! Days with clock changes.

use super::{
    tests::{cron, moment},
    *,
};

/// The next `n` runs after a moment, in UTC.
fn next(zone: &str, text: &str, after: &str, n: usize) -> Vec<String> {
    let (zone, cron) = (TimeZone::get(zone).unwrap(), cron(text));
    let next = |at: &Timestamp| cron.after(*at, &zone);
    let found: Vec<Timestamp> = std::iter::successors(next(&moment(after)), next).take(n).collect();
    // A search backwards finds the same runs.
    let back = |at: &Timestamp| cron.until(at.checked_sub(1.nanosecond()).unwrap(), &zone);
    let mut reversed: Vec<Timestamp> = std::iter::successors(found.last().copied(), back).take(n).collect();
    reversed.reverse();
    assert_eq!(found, reversed, "{text}");
    found.iter().map(|at| at.strftime("%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn a_time_that_does_not_exist_comes_right_after_the_gap() {
    // 2026-03-08: 02:00 EST becomes 03:00 EDT.
    let new_york = "America/New_York";
    assert_eq!(
        next(new_york, "30 2 * * *", "2026-03-07T12:00:00Z", 2),
        ["03-08T07:00", "03-09T06:30"],
        "at 03:00, and not at 03:30"
    );
    assert_eq!(next(new_york, "0 2 * * *", "2026-03-07T12:00:00Z", 2), ["03-08T07:00", "03-09T06:00"]);
    assert_eq!(next(new_york, "0,30 2,3 * * *", "2026-03-08T06:00:00Z", 2), ["03-08T07:00", "03-08T07:30"], "once");
    assert_eq!(next(new_york, "0 0 * * *", "2026-03-08T00:00:00Z", 2), ["03-08T05:00", "03-09T04:00"]);
    // 2026-03-29: 02:00 CET becomes 03:00 CEST.
    assert_eq!(next("Europe/Berlin", "15 2 * * *", "2026-03-28T12:00:00Z", 2), ["03-29T01:00", "03-30T00:15"]);
    assert_eq!(
        next("Europe/Berlin", "*/30 * * * *", "2026-03-29T00:00:00Z", 4),
        ["03-29T00:30", "03-29T01:00", "03-29T01:30", "03-29T02:00"]
    );
    // 2026-10-04: 02:00 becomes 02:30, half an hour.
    let lord_howe = "Australia/Lord_Howe";
    assert_eq!(next(lord_howe, "15 2 * * *", "2026-10-03T00:00:00Z", 2), ["10-03T15:30", "10-04T15:15"]);
    assert_eq!(next(lord_howe, "45 2 * * *", "2026-10-03T00:00:00Z", 2), ["10-03T15:45", "10-04T15:45"]);
    // A day that Samoa skipped.
    assert_eq!(next("Pacific/Apia", "0 2 * * *", "2011-12-29T13:00:00Z", 2), ["12-30T10:00", "12-30T12:00"]);
}

#[test]
fn a_time_that_stands_twice_comes_once_and_first() {
    // 2026-11-01: 02:00 EDT becomes 01:00 EST.
    let new_york = "America/New_York";
    assert_eq!(next(new_york, "30 1 * * *", "2026-10-31T12:00:00Z", 2), ["11-01T05:30", "11-02T06:30"]);
    assert_eq!(
        next(new_york, "*/30 * * * *", "2026-11-01T04:30:00Z", 4),
        ["11-01T05:00", "11-01T05:30", "11-01T07:00", "11-01T07:30"]
    );
    assert_eq!(next("Europe/Berlin", "0 2 * * *", "2026-10-24T12:00:00Z", 2), ["10-25T00:00", "10-26T01:00"]);
    assert_eq!(next("Australia/Lord_Howe", "45 1 * * *", "2026-04-03T20:00:00Z", 2), ["04-04T14:45", "04-05T15:15"]);
    // In the repeated hour, the last run is the one of the first pass.
    let (zone, half_past) = (TimeZone::get(new_york).unwrap(), cron("50 1 * * *"));
    let second = moment("2026-11-01T06:10:00Z");
    assert_eq!(half_past.until(second, &zone), Some(moment("2026-11-01T05:50:00Z")));
    assert_eq!(half_past.after(second, &zone), Some(moment("2026-11-02T06:50:00Z")));
}

#[test]
fn a_zone_off_by_half_an_hour_changes_nothing() {
    assert_eq!(next("Asia/Kolkata", "0 2 * * *", "2026-03-07T21:00:00Z", 2), ["03-08T20:30", "03-09T20:30"]);
    assert_eq!(next("Asia/Kolkata", "0 0 1 * *", "2026-01-31T18:30:00Z", 2), ["02-28T18:30", "03-31T18:30"]);
    assert_eq!(next("Asia/Kolkata", "59 23 28-31 2 *", "2028-02-01T00:00:00Z", 2), ["02-28T18:29", "02-29T18:29"]);
}

#[test]
fn a_window_is_of_hours_that_pass() {
    let schedule = Schedule {
        cron: cron("0 1 * * *"),
        zone: TimeZone::get("America/New_York").unwrap(),
        window: Some(Duration::from_secs(6 * 3_600)),
        missed: Missed::Run,
        day: Day::Same,
        dated: true,
        dated_lines: true,
        one_batch: false,
    };
    for (after, until) in
        [("2026-03-08T05:00:00Z", "2026-03-08T12:00:00Z"), ("2026-11-01T04:00:00Z", "2026-11-01T11:00:00Z")]
    {
        assert_eq!(schedule.next(moment(after)).unwrap().window.unwrap().until, moment(until));
    }
    // Midnight itself is skipped in Beirut: the run still belongs to that day.
    let beirut = Schedule { cron: cron("0 0 * * *"), zone: TimeZone::get("Asia/Beirut").unwrap(), ..schedule };
    let dates: Vec<_> = beirut.upcoming(moment("2026-03-27T23:00:00Z")).take(3).map(|run| run.date.day()).collect();
    assert_eq!(dates, [29, 30, 31]);
}
