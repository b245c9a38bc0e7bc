//! Definitions with a schedule, and faults in it.

use std::{fs, time::Duration};

use super::*;
use crate::domain::schedule::{Day, Missed};

const NIGHT: &str = "task = \"transcribe\"\ndate = \"yesterday\"\ntimezone = \"Asia/Kolkata\"\nbatch = \"{name}-{date}\"\nmanifest = \"calls.csv\"\ntranscribe = { model = \"pulse\", language = \"en\" }\n[schedule]\ncron = \"0 2 * * *\"\nwindow = \"6h\"\n";

/// The scheduled moment. In Kolkata it is two hours after midnight of the 21st.
const AT: &str = "2026-11-20T20:30:00Z";

struct Read {
    loaded: Result<Definition, Faults>,
    timetable: Result<Timetable, Faults>,
}

fn read(text: &str) -> Read {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), text).unwrap();
    fs::write(dir.path().join("calls.csv"), "key,source\n1,https://x.org/1.wav\n").unwrap();
    fs::write(dir.path().join("texts.csv"), "key,text\n1,Hello.\n").unwrap();
    let over =
        Overrides { working_dir: Some(dir.path().into()), now: Some(AT.parse().unwrap()), ..Overrides::default() };
    let path = Path::new("a.toml");
    Read {
        loaded: Definition::load(path, crate::tasks::Registry::built_in().definitions(), &over),
        timetable: Timetable::read(path, crate::tasks::Registry::built_in().definitions(), &over),
    }
}

fn fault(text: &str) -> String {
    let Read { loaded, timetable } = read(text);
    let (loaded, alone) = (loaded.unwrap_err(), timetable.unwrap_err());
    assert_eq!(loaded, alone, "both find the same");
    assert_eq!(loaded.total(), 1, "{loaded}");
    loaded.to_string()
}

#[test]
fn a_schedule_is_read_with_the_definitions_zone() {
    let Read { loaded, timetable } = read(NIGHT);
    let (definition, timetable) = (loaded.unwrap(), timetable.unwrap());
    let schedule = definition.schedule.as_ref().unwrap();
    assert_eq!((schedule.cron.to_string().as_str(), schedule.zone.iana_name()), ("0 2 * * *", Some("Asia/Kolkata")));
    assert_eq!((schedule.window, schedule.missed), (Some(Duration::from_secs(21_600)), Missed::Run));
    assert_eq!((schedule.day, schedule.dated, schedule.one_batch), (Day::Before, true, false));
    assert!(definition.notes().is_empty() && definition.notify.is_none());
    // The input is the scheduled moment as `now`; the output is the run's date and name.
    let run = schedule.latest(AT.parse().unwrap()).unwrap();
    assert_eq!((Some(run.date), run.at.to_string().as_str()), (definition.date, AT));
    assert_eq!(timetable.batch(run.date), Ok(definition.batch.clone()));
    assert_eq!(definition.batch.as_str(), "a-2026-11-20");
    assert!(!timetable.has_dated_manifest());
    let skip = read(&format!("{NIGHT}missed = \"skip\"\n[notify]\nurl = \"https://x.org/\"\n")).loaded.unwrap();
    assert_eq!(skip.schedule.unwrap().missed, Missed::Skip);
    assert_eq!(skip.notify, Some(Notify::Url("https://x.org/".parse().unwrap())));
}

#[test]
fn speech_has_schedules_too() {
    let text = "task = \"synthesize\"\nbatch = \"{name}-{date}\"\ntimezone = \"UTC\"\nmanifest = \"texts.csv\"\nsynthesize = { model = \"lightning_v3.1\", voice_id = \"avery\", formats = [\"wav\"] }\nschedule = { cron = \"@hourly\" }\nnotify = { command = \"./tell.sh\" }\n";
    let definition = read(text).loaded.unwrap();
    assert_eq!(definition.batch.as_str(), "a-2026-11-20", "without `date`, the day of its moment");
    assert_eq!(definition.schedule.unwrap().day, Day::Same);
    assert_eq!(definition.notify, Some(Notify::Command("./tell.sh".into())));
}

#[test]
fn every_run_the_same_batch_is_told() {
    let note = |text: &str| read(text).loaded.unwrap().notes().join("; ");
    let same = note(&NIGHT.replace("batch = \"{name}-{date}\"\n", ""));
    assert!(same.starts_with("the batch's name has no {date}: every run of the schedule goes on with the same batch"));
    assert!(same.ends_with("batch = \"{name}-{date}\""), "{same}");
    let fixed = note(&NIGHT.replace("yesterday", "2026-11-20"));
    assert!(fixed.starts_with("date = \"2026-11-20\" is the same day in every run"), "{fixed}");
    let text = NIGHT.replace("batch = \"{name}-{date}\"\n", "output = \"out/{date}\"\n");
    let schedule = read(&text).loaded.unwrap().schedule.unwrap();
    assert!(schedule.dated && schedule.one_batch, "one batch, and each night has lines of its own");
}

#[test]
fn faults_of_a_schedule_have_their_place() {
    let of = |from: &str, to: &str| fault(&NIGHT.replace(from, to));
    let message = of("0 2 * * *", "0 25 * * *");
    assert!(
        message.starts_with("a.toml:8:8: `schedule.cron`: hour `25`: 25 is not between 0 and 23; allowed: *,"),
        "{message}"
    );
    assert!(of("cron = \"0 2 * * *\"\n", "").ends_with("`schedule.cron`: is missing; e.g. cron = \"0 2 * * *\""));
    let message = of("\"6h\"", "\"0s\"");
    assert!(message.starts_with("a.toml:9:10: `schedule.window`: must be above zero"), "{message}");
    let message = of("\"6h\"", "\"49h30m\"");
    assert_eq!(
        message,
        "a.toml:9:10: `schedule.window`: 49h30m is more than 24 h longer than the 24h between two runs; at most 48h"
    );
    assert!(read(&NIGHT.replace("\"6h\"", "\"48h\"")).loaded.is_ok());
    let message = of("\"6h\"", "6");
    assert!(message.ends_with("`schedule.window`: must be a string, not a whole number"), "{message}");
    let message = of("window = \"6h\"", "missed = \"rum\"");
    assert!(
        message.ends_with("`schedule.missed`: `rum` is not a policy for missed runs; did you mean `run`?"),
        "{message}"
    );
    let message = of("window", "windwo");
    assert!(message.ends_with("`schedule.windwo`: there is no such field; did you mean `window`?"), "{message}");
    let message =
        fault(&NIGHT.replace("[schedule]\ncron = \"0 2 * * *\"\nwindow = \"6h\"", "schedule = \"0 2 * * *\""));
    assert_eq!(message, "a.toml:7:12: `schedule`: must be a table, not a string");
    let message = of("Kolkata", "Kolkatta");
    assert!(message.starts_with("a.toml:3:12: `timezone`: `Asia/Kolkatta` is not a time zone"), "{message}");
}

#[test]
fn a_manifest_that_is_still_to_come_is_no_fault_of_the_timetable() {
    let Read { loaded, timetable } = read(&NIGHT.replace("calls.csv", "calls/{date:%Y/%m}.csv"));
    assert!(loaded.unwrap_err().to_string().contains("there is no such file"));
    assert!(timetable.unwrap().has_dated_manifest());
    let message = read(&NIGHT.replace("{name}-{date}", "{name}-{dat}")).timetable.unwrap();
    assert!(message.batch("2026-11-20".parse().unwrap()).unwrap_err().contains("`{dat}` is not known here"));
}
