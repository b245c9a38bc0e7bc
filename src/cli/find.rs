//! `wavebatch find`

use clap::Args;
use serde::Serialize;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    words::{counted, shorten},
};
use crate::{
    app::{LineText, place_of, texts},
    domain::synthesis_options::TtsLanguage,
    store::Selection,
};

/// Find words in transcripts, or in texts that are spoken
///
/// Looks in kept answers, and in the outputs of lines whose answers are pruned. Case and line breaks do not matter.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch find \"cancel my order\"\n  wavebatch find refund --batch support-calls --json"
)]
pub struct Find {
    /// The words, as they stand in the text
    #[arg(value_name = "TEXT")]
    text: String,
    /// Only in this batch; may be given more than once
    #[arg(long, value_name = "NAME")]
    batch: Vec<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A line that has the words.
#[derive(Debug, Serialize)]
struct FoundView<'f> {
    /// The batch.
    batch: &'f str,
    /// The line's key.
    key: &'f str,
    /// The voice, for speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    voice_id: Option<&'f str>,
    /// The language that the line or its column sets, for speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<TtsLanguage>,
    /// The words with some before and after.
    text: String,
    /// The addresses of the line's outputs.
    outputs: &'f [String],
}

impl Find {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.text.trim().is_empty() {
            return Err(CliError::usage("there are no words to find"));
        }
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        let mut batches = Vec::new();
        for name in &self.batch {
            batches.push(context.batch_in(&store, name).await?);
        }
        if self.batch.is_empty() {
            batches = store.batches().await?;
        }
        let mut lines = 0;
        for batch in &batches {
            let words = self.text.clone();
            let keep = move |line: &LineText| place_of(&line.text, &words).is_some();
            let found = texts(&store, &context.tasks, batch, &Selection::default(), keep).await?;
            lines += found.len() as u64;
            for line in &found {
                self.print(context, &batch.name, line)?;
            }
        }
        store.close().await;
        if lines == 0 {
            let places = match batches.as_slice() {
                [one] => one.name.clone(),
                several => counted(several.len() as u64, "batch").replace("batchs", "batches"),
            };
            return Err(CliError::lines(format!("nothing in {places} has the words `{}`", self.text)));
        }
        Ok(Exit::Success)
    }

    fn print(&self, context: &Context, batch: &str, line: &LineText) -> Result<(), CliError> {
        let Some((before, words, after)) = place_of(&line.text, &self.text) else { return Ok(()) };
        let screen = &context.screen;
        let text = format!("{before}{words}{after}");
        if self.json {
            let (key, voice_id, language) = (line.key.as_str(), line.voice_id.as_deref(), line.language);
            screen.views([FoundView { batch, key, voice_id, language, text, outputs: &line.outputs }])?;
        } else {
            let language = line.language.map(|language| format!(", {language}")).unwrap_or_default();
            let voice = line.voice_id.as_ref().map(|voice| format!(" ({voice}{language})")).unwrap_or_default();
            screen.result(&shorten(&format!("{batch}  {}{voice}  {text}", line.key), screen.result_width()))?;
        }
        Ok(())
    }
}
