//! `wavebatch dicts`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{
    context::Context,
    error::{CliError, Exit},
    words::{counted, grouped, printable, table},
};
use crate::{
    app::{Api, AppError, views::DictionaryView},
    config::KEY,
    definition::pronunciations,
    domain::{
        call::{CallFailure, ErrorKind},
        options::nearest,
    },
    waves::{AccountDictionary, Client},
};

/// The maximum number of ids listed after an unknown one.
const LISTED: usize = 10;

/// List, make, change and delete the account's pronunciation dictionaries
///
/// They say how words are spoken that a voice would get wrong. There is no --sandbox here: a sandbox forgets them when
/// it ends. To try it without an account, point SMALLEST_BASE_URL at one that `wavebatch sandbox` serves.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  wavebatch dicts list\n  wavebatch dicts push brand-names.csv\n  wavebatch dicts delete 64f1234567890abcdef12345"
)]
pub struct Dicts {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Push(Push),
    Delete(Delete),
}

/// List the account's dictionaries
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch dicts list --json")]
struct List {
    /// As JSON, with all words
    #[arg(long)]
    json: bool,
}

/// Make a dictionary of a file, or put its words in the place of another's; prints the id
///
/// The file is a CSV with the columns `word` and `pronunciation`. Nothing is sent if a word is empty or doubled, or has
/// no pronunciation.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  id=$(wavebatch dicts push brand-names.csv)\n  wavebatch dicts push brand-names.csv --id \"$id\""
)]
struct Push {
    /// CSV: word,pronunciation
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace all words of this dictionary, instead of making one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

/// Delete dictionaries, without asking
///
/// If one of the ids is unknown, none is deleted.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch dicts delete 64f1234567890abcdef12345")]
struct Delete {
    /// Which ones
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Dicts {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self.verb {
            Verb::List(verb) => verb.run(context).await,
            Verb::Push(verb) => verb.run(context).await,
            Verb::Delete(verb) => verb.run(context).await,
        }?;
        Ok(Exit::Success)
    }
}

async fn open(context: &Context) -> Result<Api, CliError> {
    Api::open(&context.settings(false)?).await.map_err(|error| match error {
        AppError::NoKey => CliError::from(error)
            .hint(format!("export {KEY}=sk_…; or try it with an API that `wavebatch sandbox` serves")),
        error => error.into(),
    })
}

impl List {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let api = open(context).await?;
        let all = api.client().dictionaries().await?;
        let screen = &context.screen;
        if self.json {
            screen.view(&all.iter().map(DictionaryView::from).collect::<Vec<_>>())?;
        } else if !all.is_empty() {
            screen.result(&lines(&all, screen.result_width()))?;
        }
        if all.is_empty() {
            screen.message("the account has no dictionaries");
        }
        Ok(())
    }
}

impl Push {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let words = pronunciations::read(&self.file)?;
        let api = open(context).await?;
        let client = api.client();
        let (file, count) = (self.file.display(), counted(words.items.len() as u64, "word"));
        let (id, message) = match &self.id {
            None => {
                let made = client.create_dictionary(&words.items).await.map_err(not_made)?;
                (made.id, format!("made a dictionary of {count} from {file}"))
            }
            Some(id) => {
                let before = known(client, std::slice::from_ref(id)).await?.remove(0);
                client.update_dictionary(id, &words.items).await?;
                let words = counted(before.items.len() as u64, "word");
                (before.id, format!("put {count} from {file} in the place of its {words}"))
            }
        };
        context.screen.result(&printable(&id))?;
        context.screen.message(&message);
        Ok(())
    }
}

impl Delete {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let api = open(context).await?;
        for dictionary in known(api.client(), &self.ids).await? {
            api.client().delete_dictionary(&dictionary.id).await?;
            let count = counted(dictionary.items.len() as u64, "word");
            let first = first_words(&dictionary);
            context.screen.message(&printable(&format!("deleted {}: {count}{first}", dictionary.id)));
        }
        Ok(())
    }
}

/// The server may have carried out a request even if its answer was bad.
fn not_made(failure: CallFailure) -> CliError {
    use ErrorKind::{Gateway, ServerError, TimedOut, Truncated, Unreachable, UnusableAnswer};
    let unsure = matches!(failure.kind, Gateway | ServerError | TimedOut | Truncated | Unreachable | UnusableAnswer);
    let stop = CliError::from(failure);
    if unsure {
        let also = "if it was reached, the dictionary may be there: `wavebatch dicts list` tells";
        let hint = stop.hint.as_ref().map_or_else(|| also.to_owned(), |hint| format!("{hint}; {also}"));
        return stop.hint(hint);
    }
    stop
}

/// The dictionaries with these ids, each once.
async fn known(client: &Client, ids: &[String]) -> Result<Vec<AccountDictionary>, CliError> {
    chosen(client.dictionaries().await?, ids)
}

fn chosen(mut all: Vec<AccountDictionary>, ids: &[String]) -> Result<Vec<AccountDictionary>, CliError> {
    let unknown: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| all.iter().all(|known| known.id != **id)).collect();
    let Some(first) = unknown.first() else {
        all.retain(|known| ids.contains(&known.id));
        return Ok(all);
    };
    let ticked = |ids: &[&str]| ids.iter().map(|id| format!("`{}`", printable(id))).collect::<Vec<_>>().join(", ");
    let stop = CliError::usage(format!("the account has no dictionary {}", ticked(&unknown)));
    let there: Vec<&str> = all.iter().map(|known| known.id.as_str()).collect();
    Err(match nearest(first, there.iter().copied()) {
        _ if there.is_empty() => stop.hint("it has none at all; `wavebatch dicts push FILE` makes one"),
        Some(near) if there.len() > 1 => stop.hint(format!("did you mean `{near}`? `wavebatch dicts list` tells all")),
        _ if there.len() > LISTED => {
            stop.hint(format!("it has {}; `wavebatch dicts list` tells them", grouped(there.len() as u64)))
        }
        _ => stop.hint(format!("it has {}", ticked(&there))),
    })
}

/// ` (acme, mysql, …)`, or empty.
fn first_words(dictionary: &AccountDictionary) -> String {
    let words: Vec<_> = dictionary.items.iter().take(3).map(|item| item.word.as_str()).collect();
    let more = if dictionary.items.len() > words.len() { ", …" } else { "" };
    if words.is_empty() { String::new() } else { format!(" ({}{more})", words.join(", ")) }
}

fn lines(all: &[AccountDictionary], width: usize) -> String {
    let rows: Vec<_> = all
        .iter()
        .map(|dictionary| {
            let words = dictionary.items.iter().map(|item| format!("{} = {}", item.word, item.pronunciation));
            vec![
                dictionary.id.clone(),
                grouped(dictionary.items.len() as u64),
                dictionary.created_at.clone().unwrap_or_default(),
                words.take(5).collect::<Vec<_>>().join(", ") + if dictionary.items.len() > 5 { ", …" } else { "" },
            ]
        })
        .collect();
    table(&["id", "words", "made", "first words"], &rows, &[1], width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pronunciation::Pronunciation;

    fn dictionary(id: &str, words: usize) -> AccountDictionary {
        let item = |n: usize| Pronunciation { word: format!("w{n}"), pronunciation: format!("p{n}") };
        AccountDictionary {
            id: id.into(),
            items: (0..words).map(item).collect(),
            created_at: Some("2026-08-21".into()),
        }
    }

    #[test]
    fn an_unknown_id_is_told_with_what_there_is() {
        let message = |there: &[&str], asked: &[&str]| {
            let all = there.iter().map(|id| dictionary(id, 1)).collect();
            let ids: Vec<_> = asked.iter().map(|id| (*id).to_owned()).collect();
            let stop = chosen(all, &ids).unwrap_err();
            assert_eq!(stop.exit, Exit::Usage);
            stop.message()
        };
        assert_eq!(
            message(&["abc", "xyz"], &["abc", "q1", "q2"]),
            "error: the account has no dictionary `q1`, `q2`\nhint: it has `abc`, `xyz`"
        );
        assert!(message(&["abcdef", "xyz"], &["abcdeg"]).contains("did you mean `abcdef`?"));
        assert!(message(&[], &["a"]).contains("hint: it has none at all"));
        let twice = ["abc".to_owned(), "abc".to_owned()];
        assert_eq!(chosen(vec![dictionary("abc", 1), dictionary("b", 1)], &twice).unwrap().len(), 1);
    }

    #[test]
    fn a_dictionary_is_told_by_its_first_words() {
        assert_eq!([1, 4].map(|n| first_words(&dictionary("a", n))), [" (w0)", " (w0, w1, w2, …)"]);
        insta::assert_snapshot!(lines(&[dictionary("abc", 1), dictionary("abcdef", 1_200)], 60), @r"
        id      words  made        first words
        abc         1  2026-08-21  w0 = p0
        abcdef  1,200  2026-08-21  w0 = p0, w1 = p1, w2 = p2, w3 = …
        ");
    }

    #[test]
    fn what_may_have_been_made_is_said_to() {
        let hint = |kind| not_made(CallFailure::new(kind, "x")).hint;
        assert!(hint(ErrorKind::TimedOut).unwrap().ends_with("may be there: `wavebatch dicts list` tells"));
        assert_eq!(hint(ErrorKind::BadRequest), None);
    }
}
