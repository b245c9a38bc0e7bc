//! What the first reading collects about prompts.

use std::sync::Arc;

use serde_json::{Map, json};

use crate::{
    definition::{
        Scan,
        manifest::{Gathered, ScanDepth},
    },
    domain::{
        chat::{CONTEXT_TOKENS, Chat, ChatLine},
        key::Key,
        open::UnlistedValues,
    },
    report::words::{counted, grouped},
    runner::intake::{ContentFindings, LineNote},
};

/// The most lines that are noted one by one.
const MOST_NOTES: usize = 1_000;

/// The findings for a manifest of prompts.
#[derive(Debug, Clone, Default)]
pub(in crate::tasks::chat) struct ChatFindings {
    /// The tokens of all prompts, with the text before them: estimated.
    tokens: u64,
    /// Those before the first prompt.
    stable: u64,
    /// The longest line.
    longest: Option<(u64, String)>,
    /// Lines that leave no room for their reply.
    beyond: u64,
    /// Lines that are cut.
    cut: u64,
    notes: Vec<LineNote>,
}

impl ChatFindings {
    /// What is shown of them.
    pub(in crate::tasks::chat) fn shown(scan: &Scan) -> ContentFindings {
        let Some(found) = scan.findings.downcast_ref::<Self>() else { return ContentFindings::default() };
        let Some((longest, key)) = &found.longest else { return ContentFindings::default() };
        let about = format!(
            "about {} to read, {} of each line the same for all; the longest line has {} (`{key}`). Estimated: four letters of English are counted as a token",
            grouped(found.tokens),
            grouped(found.stable),
            grouped(*longest)
        );
        let mut facts = vec![("tokens", about)];
        if found.beyond > 0 {
            let lines = if found.beyond == 1 {
                "1 line has".to_owned()
            } else {
                format!("{} lines have", grouped(found.beyond))
            };
            facts.push((
                "",
                format!(
                    "{lines} no room for a reply: a request and its reply have {} tokens at most",
                    grouped(CONTEXT_TOKENS)
                ),
            ));
        }
        if found.cut > 0 {
            let lines = counted(found.cut, "line");
            facts.push(("", format!("{lines} of them cut, since a request has no room for the whole: a request for each piece, and one more")));
        }
        let fields: Map<_, _> = [
            ("prompt_tokens".to_owned(), json!(found.tokens)),
            ("stable_tokens".to_owned(), json!(found.stable)),
            ("longest_tokens".to_owned(), json!(longest)),
            ("beyond_context".to_owned(), json!(found.beyond)),
        ]
        .into_iter()
        .collect();
        ContentFindings { facts, fields, notes: found.notes.clone(), left_out: Vec::new() }
    }
}

/// Collects the findings, line by line.
#[derive(Debug)]
pub(super) struct Gathering {
    jobs: u64,
    idle: u64,
    look: bool,
    found: ChatFindings,
}

impl Gathering {
    pub(super) fn new(depth: ScanDepth) -> Self {
        Self { jobs: 0, idle: 0, look: depth == ScanDepth::Look, found: ChatFindings::default() }
    }

    pub(super) fn add(&mut self, (number, key): (u64, &Key), asked: &Chat, line: &ChatLine, prompt: &str) {
        self.jobs += 1;
        if !self.look {
            return;
        }
        let found = &mut self.found;
        let tokens = asked.prompt_tokens(line, prompt);
        let pieces = asked.prompts(line, prompt).len();
        if found.longest.is_none() {
            found.stable = asked.stable_tokens(line);
        }
        found.tokens += tokens;
        if found.longest.as_ref().is_none_or(|(longest, _)| tokens > *longest) {
            found.longest = Some((tokens, key.to_string()));
        }
        let wanted = asked.options.max_tokens.map_or(1, u64::from);
        if pieces > 1 {
            found.cut += 1;
        } else if tokens + wanted > CONTEXT_TOKENS {
            found.beyond += 1;
            if found.notes.len() < MOST_NOTES {
                let reply = asked
                    .options
                    .max_tokens
                    .map(|most| format!(", and its reply may have {}", grouped(u64::from(most))));
                let what = format!(
                    "has about {}{}: over the {} of a request and its reply; the API will refuse it",
                    counted(tokens, "token"),
                    reply.unwrap_or_default(),
                    grouped(CONTEXT_TOKENS)
                );
                found.notes.push(LineNote { number, key: key.clone(), what });
            }
        }
    }

    pub(super) fn add_idle(&mut self) {
        self.jobs += 1;
        self.idle += 1;
    }

    pub(super) fn finish(self) -> Gathered {
        Gathered {
            jobs: self.jobs,
            idle: self.idle,
            unlisted_values: UnlistedValues::default(),
            findings: Arc::new(self.found),
        }
    }
}
