//! Who owns an output, and whether it can be written.

use super::*;
use crate::domain::environment::Environment;

#[tokio::test]
async fn an_output_belongs_to_one_batch_of_one_ledger() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    let take_over =
        SubmitOptions { take_over: true, ..SubmitOptions::of(crate::tasks::Registry::built_in().intakes()) };
    // Another batch of the same ledger.
    w.write("other.toml", &TOML.replace("out/{batch}", "out/calls"));
    let other = submit(
        &w.store,
        &w.load("other.toml"),
        None,
        Environment::Live,
        &SubmitOptions::of(crate::tasks::Registry::built_in().intakes()),
    )
    .await;
    let error = usage(other);
    assert!(
        matches!(&error, IntakeError::Owned { their_batch, our_batch, .. } if their_batch == "calls" && our_batch == "other")
    );
    assert!(w.store.batch("other").await.unwrap().is_none(), "nothing was recorded");
    // The same batch of another ledger.
    let second = Store::open(Opening::new(w.path("second.db"))).await.unwrap().0;
    let definition = w.load("calls.toml");
    let error = usage(
        submit(
            &second,
            &definition,
            None,
            Environment::Live,
            &SubmitOptions::of(crate::tasks::Registry::built_in().intakes()),
        )
        .await,
    );
    assert!(error.to_string().contains("wavebatch.db") && error.to_string().contains("second.db"), "{error}");
    submit(&second, &definition, None, Environment::Live, &take_over).await.unwrap();
    let summary = fs::read(w.path("out/calls/summary.json")).unwrap();
    assert_eq!(Owner::read(&summary).unwrap().ledger.id, second.id());
    // A file that is no summary must never be overwritten.
    w.write("out/calls/summary.json", "{\"my\": \"notes\"}");
    assert!(matches!(usage(w.submit().await), IntakeError::ForeignSummary { .. }));
    w.submit_with(&take_over).await.unwrap();
}

#[tokio::test]
async fn a_lost_ledger_is_told_apart_from_the_new_one_at_its_path() {
    let w = Fixture::new().await;
    w.submit().await.unwrap();
    let summary = fs::read_to_string(w.path("out/calls/summary.json")).unwrap();
    w.write("out/calls/summary.json", &summary.replace(w.store.id(), "0192-lost"));
    let error = usage(w.submit().await);
    let (at, id) = (w.store.address(), w.store.id());
    let message = error.to_string();
    assert!(
        message.contains(&format!("`calls` of another ledger that stood at {at} (its id was 0192-lost)")),
        "{message}"
    );
    assert!(message.ends_with(&format!("`calls` of the ledger that is there now (its id is {id})")), "{message}");
    assert!(error.hint().unwrap().starts_with("restore that ledger"));
}

#[tokio::test]
async fn an_older_copy_of_the_ledger_is_refused() {
    let w = Fixture::new().await;
    let submission = w.submit().await.unwrap();
    w.work().await;
    let sink = Sink::open(&submission.spec.output, &submission.spec.sink).unwrap();
    let rates = Rates::default();
    let state = SummaryState::Finished;
    let mut summary =
        publish(&w.store, &w.batch().await, (&submission.spec, &crate::tasks::Transcribe), &sink, state, &rates)
            .await
            .unwrap();
    w.submit().await.unwrap();
    summary.ledger.newest_call = Some(crate::domain::job::CallId::new().to_string());
    put_summary(&sink, &summary).await.unwrap();
    assert!(matches!(usage(w.submit().await), IntakeError::OlderLedger { .. }));
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_found_before_anything_is_recorded() {
    let w = Fixture::new().await;
    w.write("out", "a file where a folder should be");
    let error = w.submit().await.unwrap_err();
    assert!(matches!(error, IntakeError::Sink(_)), "{error}");
    assert_eq!(error.exit_class(), ExitClass::CouldNotRun);
    assert!(w.store.batches().await.unwrap().is_empty());
}
