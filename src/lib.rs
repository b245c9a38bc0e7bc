//! wavebatch: a durable batch runner for Smallest AI's Waves speech API. The program `wavebatch` is this library's command
//! line; the library has no other user, so its names may change with any release.
//!
//! A *definition* says how, a *manifest* says what; together they make a batch of jobs in a *ledger*, which records
//! every call before it is made. Start at [`app::Session`]:
//!
//! ```
//! use std::{fs, sync::Arc};
//!
//! use wavebatch::{
//!     app::{Consent, Event, Session, Settings},
//!     config::{Config, Env, Flags},
//!     definition::{Definition, Overrides},
//!     domain::{environment::Environment, row::RowStatus},
//!     runner::Order,
//!     tasks::Registry,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! fs::write(dir.path().join("hello.csv"), "key,text\nhello,Good morning.\n")?;
//! let text = r#"
//!     task = "synthesize"
//!     manifest = "hello.csv"
//!     output = "spoken"
//!
//!     [synthesize]
//!     model = "lightning_v3.1"
//!     voice_id = "avery"
//! "#;
//! fs::write(dir.path().join("hello.toml"), text)?;
//!
//! // The sandbox stands in for the API: it needs no key, and speaks in tones.
//! let flags = Flags { sandbox: true, ..Flags::default() };
//! let config = Config::load(&flags, &Env::default(), dir.path())?;
//! let settings = Settings::new(config, Env::default(), Environment::Sandbox, Registry::built_in());
//! let session = Session::open(settings, Arc::new(|_: Event| ())).await?;
//!
//! let file = dir.path().join("hello.toml");
//! let definition = Definition::load(&file, Registry::built_in().definitions(), &Overrides::default())?;
//! let submission = session.submit(&definition, Consent::default(), tokio::io::empty()).await?;
//! let batch = session.store().batch_by_id(submission.batch).await?;
//! let nobody = session.notifications(&[]).await;
//! let mut succeeded = 0;
//! let ended = |batch: wavebatch::app::Published| {
//!     succeeded += batch.summary.count(RowStatus::Succeeded);
//!     Ok(())
//! };
//! session.run(&[batch], Order::OldestFirst, &nobody, ended).await?;
//! session.close().await;
//!
//! assert_eq!(succeeded, 1);
//! assert!(dir.path().join("spoken/hello.wav").is_file());
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms
//!
//! Dependencies point down only: a room knows those below it; a test checks it. See `docs/developing/architecture.md`.
//!
//! | room | content |
//! | --- | --- |
//! | [`cli`], [`telemetry`] | one file per verb, and the progress bars; the log |
//! | [`app`] | what a front end drives: sessions, services, and the views behind every `--json` |
//! | [`server`], [`sandbox`] | listeners and the parts of a service; the local stand-in for the API |
//! | [`tasks`] | the work that can be done for a line: one folder per task, and the registry that names them |
//! | [`runner`], [`report`], [`config`] | claims, calls and deliveries; `report.csv` and `summary.json`; `wavebatch.toml` |
//! | [`definition`], [`store`], [`waves`] | definitions and manifests, the ledger, the API client |
//! | [`media`], [`sink`], [`render`] | recordings, outputs, formats |
//! | [`domain`], [`audio`], and the modules that every room uses | types and decisions without I/O; audio data |

pub mod app;
pub mod audio;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod definition;
pub mod domain;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod io_fault;
pub mod large;
pub mod media;
pub mod pace;
pub mod process;
pub mod render;
pub mod report;
pub mod runner;
pub mod s3;
pub mod sandbox;
pub mod server;
pub mod shutdown;
pub mod sink;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod temp_lock;
pub mod waves;
