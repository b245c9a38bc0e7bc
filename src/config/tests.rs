//! Tests of faults, precedence and the origins of settings.

use super::*;
use crate::domain::batch::MicroUsd;

fn load(file: Option<&str>, flags: &Flags, env: &Env) -> (tempfile::TempDir, Result<Config, Faults>) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(dir.path().join(FILE), text).unwrap();
    }
    let config = Config::load(flags, env, dir.path());
    (dir, config)
}

fn faults(text: &str) -> String {
    load(Some(text), &Flags::default(), &Env::default()).1.unwrap_err().to_string()
}

#[test]
fn with_nothing_said_the_standard_plan_holds() {
    let (dir, config) = load(None, &Flags::default(), &Env::default());
    let config = config.unwrap();
    assert_eq!((config.file, config.database), (None, dir.path().join("wavebatch.db").into()));
    assert_eq!(config.base_url.as_str(), "https://api.smallest.ai/");
    for pool in Pool::ALL {
        let set = &config.limits[pool];
        let limits = match pool {
            Pool::Pulse | Pool::PulsePro | Pool::Other(_) => {
                Limits { requests_per_minute: Some(25), concurrency: None }
            }
            Pool::PulseLive => Limits { requests_per_minute: None, concurrency: Some(100) },
            Pool::Tts => Limits { requests_per_minute: None, concurrency: Some(10) },
            Pool::Chat | Pool::Pca => Limits { requests_per_minute: Some(10), concurrency: Some(3) },
        };
        assert_eq!(set.limits, limits);
        let by = match pool {
            Pool::Pca => "a guess, since the vendor publishes none; set them in wavebatch.toml [limits.pca]",
            _ => "preset standard; change it in wavebatch.toml [limits]",
        };
        assert_eq!(set.rate_by.to_string(), by);
    }
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let file = "database = 'sqlite://of-file.db'\nbase_url = 'https://file.example'\n";
    let env = Env {
        database: Some("sqlite://of-env.db".into()),
        base_url: Some("https://env.example".into()),
        ..Env::default()
    };
    let flags = Flags { database: Some("sub/of-flag.db".into()), ..Flags::default() };
    let (dir, config) = load(Some(file), &flags, &env);
    let config = config.unwrap();
    assert_eq!(config.database, dir.path().join("sub/of-flag.db").into());
    assert_eq!(config.base_url.host_str(), Some("env.example"));
    assert_eq!(config.file, Some(dir.path().join(FILE)));
    let (dir, config) = load(Some(file), &Flags::default(), &Env::default());
    assert_eq!(config.unwrap().database, dir.path().join("of-file.db").into());
    let sandbox = Flags { sandbox: true, ..flags };
    let (dir, config) = load(Some("[limits.pulse]\nrequests_per_minute = 3\n"), &sandbox, &env);
    let config = config.unwrap();
    assert_eq!(config.database, dir.path().join("sub/wavebatch-sandbox.db").into());
    assert_eq!(config.limits[&Pool::Pulse].limits, Limits::default());
}

#[test]
fn a_relative_path_begins_at_the_file_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    std::fs::write(dir.path().join("etc/w.toml"), "database = 'sqlite://l.db'").unwrap();
    let flags = Flags { config: Some("etc/w.toml".into()), ..Flags::default() };
    let config = Config::load(&flags, &Env::default(), dir.path()).unwrap();
    assert_eq!(config.database, dir.path().join("etc/l.db").into());
    let missing = Flags { config: Some("w.toml".into()), ..Flags::default() };
    let message = Config::load(&missing, &Env::default(), dir.path()).unwrap_err().to_string();
    assert!(message.starts_with("w.toml: cannot be read"), "{message}");
}

#[test]
fn a_share_of_the_account_is_a_share_of_each_limit() {
    let file = "[limits]\nshare = 0.3\n[limits.pulse-pro]\nrequests_per_minute = 2\n[limits.tts]\nconcurrency = 0\n";
    let (_dir, config) = load(Some(file), &Flags::default(), &Env::default());
    let limits = config.unwrap().limits;
    assert_eq!(limits[&Pool::Pulse].limits, Limits { requests_per_minute: Some(7), concurrency: None });
    assert_eq!(
        limits[&Pool::Pulse].rate_by.to_string(),
        "share 0.3 of preset standard; change it in wavebatch.toml [limits]"
    );
    assert_eq!(limits[&Pool::PulsePro].limits.requests_per_minute, Some(1), "at least one");
    assert_eq!(limits[&Pool::Tts].limits.concurrency, None, "there is no share of no limit");
    for wrong in ["0", "1.5", "-1", "nan"] {
        let (_dir, config) = load(Some(&format!("[limits]\nshare = {wrong}\n")), &Flags::default(), &Env::default());
        assert!(config.unwrap_err().to_string().contains("must be above 0 and at most 1"), "{wrong}");
    }
    let (_dir, config) = load(Some("[limits]\nshare = 1\n"), &Flags::default(), &Env::default());
    assert_eq!(config.unwrap().limits[&Pool::Pulse].limits.requests_per_minute, Some(25));
}

#[test]
fn limits_say_where_they_are_from() {
    let file = "[limits]\nplan = 'standard'\n[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 4\n[rates]\npulse = 0.0035\n";
    let config = load(Some(file), &Flags::default(), &Env::default()).1.unwrap();
    let set = config.limits[&Pool::Pulse].clone();
    assert_eq!(set.limits, Limits { requests_per_minute: None, concurrency: Some(4) });
    assert_eq!(set.concurrency_by.to_string(), "wavebatch.toml:5");
    assert_eq!(config.limits[&Pool::PulsePro].limits.requests_per_minute, Some(25));
    assert_eq!(config.rates.pulse, MicroUsd(3_500));
    let run = RunSettings { concurrency: Some(8), requests_per_minute: Some(5), ..RunSettings::default() };
    let lowered = set.lowered(&run);
    assert_eq!(lowered.limits, Limits { requests_per_minute: Some(5), concurrency: Some(4) }, "only lowered");
    assert_eq!(
        (lowered.rate_by, lowered.concurrency_by.to_string().as_str()),
        (LimitOrigin::Definition, "wavebatch.toml:5")
    );
}

#[test]
fn every_fault_has_its_line_and_the_nearest_name() {
    let message = faults(
        "databse = 'x'\n[limits]\nplan = 'standart'\n[limits.puls]\nrequests_per_minute = 1\n[limits.pulse-pro]\nconcurrency = -1\n[rates]\npulse = -1.0\n",
    );
    insta::assert_snapshot!(message, @r"
    wavebatch.toml:1:1: `databse`: there is no such field; did you mean `database`?
    wavebatch.toml:3:8: `limits.plan`: `standart` is not a plan; did you mean `standard`?
    wavebatch.toml:4:9: `limits.puls`: there is no such field; did you mean `pulse`?
    wavebatch.toml:7:15: `limits.pulse-pro.concurrency`: -1 is not between 0 (no limit) and 4294967295
    wavebatch.toml:9:9: `rates.pulse`: `-1.0` is not a price; write US dollars a minute, e.g. 0.005
    ");
    insta::assert_snapshot!(faults("base_url = 'ftp://x'\ndatabase = 'mysql://x'"), @r"
    wavebatch.toml:1:12: `base_url`: must begin with https:// or http://
    wavebatch.toml:2:12: `database`: `mysql://` ledgers are not supported; write sqlite://path/wavebatch.db, or postgres://user@host/database
    ");
    assert!(faults("limits = [\n").starts_with("wavebatch.toml:"));
    let env = Env { base_url: Some("https://me@x".into()), ..Env::default() };
    let message = load(None, &Flags { database: Some("sqlite://".into()), ..Flags::default() }, &env).1.unwrap_err();
    insta::assert_snapshot!(message, @r"
    --database: names no file; write sqlite://path/wavebatch.db
    SMALLEST_BASE_URL: may have no user, query or fragment; the key goes into SMALLEST_API_KEY
    ");
}

#[test]
fn who_is_told_is_read_like_a_definitions_own() {
    let (dir, config) = load(Some("[notify]\ncommand = './tell.sh'\n"), &Flags::default(), &Env::default());
    let config = config.unwrap();
    assert_eq!(config.notify, Some(Notify::Command("./tell.sh".into())));
    assert_eq!(config.file, Some(dir.path().join(FILE)), "beside which the command runs");
    assert!(faults("[notify]\nurl = 'hooks'\n").starts_with("wavebatch.toml:2:7: `notify.url`: `hooks` is not a URL"));
    assert_eq!(load(None, &Flags::default(), &Env::default()).1.unwrap().notify, None);
}

#[test]
fn only_builds_for_tests_move_their_clock() {
    let moved = super::moved_clock("2026-11-20T23:59:00Z", true);
    assert_eq!(moved, Some("2026-11-20T23:59:00Z".parse().unwrap()));
    assert_eq!(super::moved_clock("2026-11-20T23:59:00Z", false), None);
    assert_eq!(super::moved_clock("tomorrow", true), None);
}

#[test]
fn a_day_and_a_month_may_have_a_limit() {
    let spend = |text: &str| load(Some(text), &Flags::default(), &Env::default()).1.unwrap().spend;
    let rule = spend("[spend]\nday_usd = 40\nmonth_usd = 600.5\ntimezone = 'Asia/Kolkata'\n").unwrap();
    assert_eq!((rule.day, rule.month), (Some(MicroUsd(40_000_000)), Some(MicroUsd(600_500_000))));
    assert_eq!(rule.zone.iana_name(), Some("Asia/Kolkata"));
    assert_eq!(spend("[spend]\nday_usd = 0.5\n").unwrap().month, None);
    assert_eq!(spend(""), None);
    assert_eq!(spend("[spend]\ntimezone = 'UTC'\n"), None, "no limit is set");
    let message = faults("[spend]\nday_usd = 0\nmonth_usd = '5'\ntimezone = 'Europe/Brelin'\nweek_usd = 1\n");
    insta::assert_snapshot!(message, @r"
    wavebatch.toml:2:11: `spend.day_usd`: `0` is not an amount of US dollars above 0; write e.g. 5.0
    wavebatch.toml:3:13: `spend.month_usd`: must be a number, not a string
    wavebatch.toml:4:12: `spend.timezone`: `Europe/Brelin` is not a time zone; did you mean `Europe/Berlin`? (names are those of the tz database, e.g. Asia/Kolkata)
    wavebatch.toml:5:1: `spend.week_usd`: there is no such field; known here: `day_usd`, `month_usd`, `timezone`
    ");
}

#[test]
fn a_hint_has_no_password() {
    let choice = |database: &str| Flags { database: Some(database.into()), ..Flags::default() }.choice();
    let words = |database: &str| choice(database).words().join(" ");
    assert_eq!(words("sub/w.db"), "--database sub/w.db");
    assert_eq!(words("postgres://wave:hunter2@db/ledger?schema=w"), "--database postgres://wave@db/ledger?schema=w");
    assert_eq!(words("postgres://db/ledger?user=wave&password=hunter2"), "--database postgres://db/ledger?user=wave");
    assert_eq!(words("postgres://wave:hunter2@"), "", "it is told as a fault of the flag");
}
