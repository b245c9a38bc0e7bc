//! Submitting prompts.

use super::{Chat, chatting::Chatting, records::ChatFindings, report::price_of};
use crate::{
    definition::{Definition, ManifestLine, Scan, manifest::JobDraft},
    domain::{
        chat::{Chat as Asking, ChatEndpoint, ChatLine, USUAL_REPLY_TOKENS, Usage, merging},
        cost::{MicroUsd, Rates},
        task::{SpecChange, TaskSpec},
    },
    report::words::{counted, grouped},
    runner::intake::{ContentFindings, IntakeTask, OutputEndings, Purchases, Survey},
    store::{JobPlan, KeptClips, StoreError},
};

impl IntakeTask for Chat {
    /// The manifest's hash covers its prompts.
    fn has_sources(&self) -> bool {
        false
    }

    fn price_unit(&self, model: &str) -> &'static str {
        match model == PCA {
            true => "US dollars a request",
            false => "US dollars for a million tokens: a table with `input`, `cached` and `output`",
        }
    }

    fn unpriced<'d>(&self, definition: &'d Definition, rates: &Rates) -> Option<&'d str> {
        let asked = &definition.asks::<Chatting>()?.asked;
        (!asked.endpoint.is_chat() && rates.chat_price(asked).is_none()).then(|| asked.answered_by())
    }

    fn price_line(&self, model: &str) -> String {
        if model == PCA {
            return format!("[rates]\n  {model} = 0.02");
        }
        format!("[rates.\"{model}\"]\n  input = 0.4\n  cached = 0.1\n  output = 1.6")
    }

    fn output_endings(&self, definition: &Definition) -> OutputEndings {
        OutputEndings { all: vec![ending(definition).to_owned()], may_be_empty: Vec::new() }
    }

    fn outputs(&self, definition: &Definition, key: &str, _job: &JobDraft) -> Vec<String> {
        vec![format!("{key}{}", ending(definition))]
    }

    fn asks_for_other_calls(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        // The texts of lines are made from templates: other templates make other texts of the same cells.
        let calls = |spec: &TaskSpec| {
            let asked = spec.read::<Asking>().ok()?;
            Some((asked.identity(&ChatLine::default()), asked.system_template, asked.prompt))
        };
        calls(before) != calls(now)
    }

    /// Long texts are not repeated.
    fn change_in_words(&self, change: &SpecChange, _before: &TaskSpec, _now: &TaskSpec) -> Option<String> {
        const LONGEST: usize = 60;
        let is_long =
            |value: &serde_json::Value| value.is_object() || value.is_array() || value.to_string().len() > LONGEST;
        match change.name.as_str() {
            "temperature" | "max_tokens" | "top_p" | "seed" | "model" => None,
            name if is_long(&change.before) || is_long(&change.now) => Some(format!("`{name}` changed")),
            _ => None,
        }
    }

    fn needs_redelivery(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let judged = |spec: &TaskSpec| spec.read::<Asking>().ok().map(|asked| asked.grounded);
        judged(before) != judged(now)
    }

    fn survey(&self, definition: &Definition, _: Option<KeptClips>, rates: &Rates) -> Option<Box<dyn Survey>> {
        let asked = definition.asks::<Chatting>()?.asked.clone();
        Some(Box::new(ChatSurvey {
            asked,
            rates: rates.clone(),
            all: Tally::default(),
            new: Tally::default(),
            again: Tally::default(),
        }))
    }

    fn findings(&self, scan: &Scan) -> ContentFindings {
        ChatFindings::shown(scan)
    }
}

/// The name of the price of an analysis.
const PCA: &str = ChatEndpoint::Pca.as_str();

fn ending(definition: &Definition) -> &'static str {
    definition.asks::<Chatting>().map_or(".txt", |own| own.asked.ending())
}

/// Requests, and what they take.
#[derive(Default)]
struct Tally {
    jobs: u64,
    requests: u64,
    characters: u64,
    /// The tokens to read, and those of the replies at most.
    usage: Usage,
}

impl Tally {
    fn add(&mut self, characters: u64, (usage, requests): (Usage, u64)) {
        self.jobs += 1;
        self.requests += requests;
        self.characters += characters;
        self.usage += usage;
    }
}

/// Counts the requests of a manifest, before anything is bought.
struct ChatSurvey {
    asked: Asking,
    rates: Rates,
    all: Tally,
    new: Tally,
    again: Tally,
}

impl ChatSurvey {
    /// What the requests of a line use, and how many they are.
    fn usage_of(&self, line: &ChatLine, prompt: &str) -> (Usage, u64) {
        let prompts = self.asked.prompts(line, prompt);
        let mut all = Usage::default();
        let mut replies = 0;
        for prompt in &prompts {
            let one = self.usage_of_one(line, prompt);
            replies += one.completion_tokens;
            all += one;
        }
        let requests = prompts.len() as u64;
        if requests == 1 {
            return (all, 1);
        }
        let last = self.usage_of_one(line, &merging(&[]));
        all += Usage { prompt_tokens: last.prompt_tokens + replies, ..last };
        (all, requests + 1)
    }

    fn usage_of_one(&self, line: &ChatLine, prompt: &str) -> Usage {
        let prompt_tokens = self.asked.prompt_tokens(line, prompt);
        let most = self.asked.most_completion_tokens(prompt_tokens);
        let completion_tokens =
            if self.asked.options.max_tokens.is_some() { most } else { most.min(USUAL_REPLY_TOKENS) };
        Usage { prompt_tokens, cached_tokens: 0, completion_tokens }
    }
}

impl Survey for ChatSurvey {
    fn add(&mut self, line: &ManifestLine, jobs: &[JobPlan]) -> Result<(), StoreError> {
        for (draft, plan) in line.jobs.iter().zip(jobs) {
            let Some(prompt) = draft.text.as_deref() else { continue };
            let own = draft.overrides.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            let (usage, characters) = (self.usage_of(&own, prompt), prompt.chars().count() as u64);
            self.all.add(characters, usage);
            // Counted where the definition has changed: a line that changed by itself is simply new.
            if plan.is_bought_again() || plan.is_changed() {
                self.again.add(characters, usage);
            }
            if plan.is_worked() {
                self.new.add(characters, usage);
            }
        }
        Ok(())
    }

    fn found(self: Box<Self>) -> Purchases {
        let by_model = |characters| [(self.asked.answered_by().to_owned(), characters)].into_iter().collect();
        let priced = self.rates.chat_price(&self.asked).is_some();
        let cost = |tally: &Tally| self.rates.chat_cost(&self.asked, &tally.usage, tally.requests);
        let reply = match self.asked.options.max_tokens {
            Some(most) => format!("replies of {} each, which is max_tokens", grouped(u64::from(most))),
            None => format!("replies of {USUAL_REPLY_TOKENS} each, since max_tokens is not set"),
        };
        let words = match (self.new.requests, self.all.requests) {
            (0, all) => format!("{}: nothing of it is new", counted(all, "request")),
            (worked, all) if worked == all => format!("{}, all of them new", counted(all, "request")),
            (worked, all) => format!("{}; {} are new", counted(all, "request"), grouped(worked)),
        };
        Purchases {
            all_parts: self.all.requests,
            all_units: by_model(self.all.characters),
            jobs: self.new.jobs,
            parts: self.new.requests,
            units: by_model(self.new.characters),
            cost: priced.then(|| cost(&self.new)),
            prices: match self.asked.endpoint.is_chat() {
                true => vec![
                    format!("for {}, none of them cached, and {reply}", counted(self.new.usage.prompt_tokens, "token")),
                    price_of(&self.asked, &self.rates),
                ],
                false => vec![price_of(&self.asked, &self.rates)],
            },
            again: self.again.jobs,
            again_units: self.again.characters,
            again_cost: if priced { cost(&self.again) } else { MicroUsd::ZERO },
            in_words: Some(("calls", words)),
            ..Purchases::default()
        }
    }
}
