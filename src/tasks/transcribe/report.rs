//! The report of a transcription.

use super::Transcribe;
use crate::{
    definition::text::named,
    domain::{
        batch::LineOverrides,
        cost::Rates,
        listening::{ChannelMode, Listening, OtherWay},
        options::{SttModel, TranscribeOptions, WebhookMode},
        pool::Pool,
        talk::{SideTalk, Talk},
        task::{SpecError, TaskSpec},
        transcription::Transcription,
    },
    report::{
        BatchRequest, JobRequest, OwnColumn, ReportTask, Rest,
        row::{Column, OwnCell},
        words::{counted, dollars, duration, grouped, unpriced},
    },
    store::{Field, ReportRow, Retried},
};

const COLUMNS: &[Column] = &[
    Column::Batch,
    Column::Line,
    Column::Key,
    Column::Status,
    Column::Source,
    Column::Outputs,
    Column::Model,
    Column::Language,
    Column::AudioSeconds,
    Column::Channels,
    Column::Tries,
    Column::BilledCalls,
    Column::CostUsd,
    Column::RequestId,
    Column::SubmittedAt,
    Column::StartedAt,
    Column::FinishedAt,
    Column::ProcessingMs,
    Column::ErrorKind,
    Column::Error,
    Column::Notes,
    Column::Wanted,
    Column::ContentExpiry,
    Column::Transcript,
];

/// What stands in a role's column for its name.
const ROLE: &str = "{role}";

/// The columns of a batch whose channels are not just mixed.
const OWN_COLUMNS: &[OwnColumn] = &[
    (
        "silence_s",
        "How long nobody talks, in seconds. This column and those after it are not in a report with `channels = \"mix\"`.",
    ),
    ("longest_silence_s", "The longest time in which nobody talks, in seconds."),
    ("overlap_s", "How long two or more sides talk at once, in seconds."),
    (
        "interruptions",
        "How often a side begins to speak, for at least 1 s, while another speaks on for at least 0.5 s.",
    ),
    ("turns", "The number of turns of all sides."),
    ("channels_note", "Why the channels were not transcribed as asked for."),
    (
        "{role}_talk_s",
        "How long this role talks, in seconds. There is a column for each role: `agent_talk_s`, or `channel_1_talk_s`.",
    ),
    ("{role}_first_word_s", "When the first word of this role begins, in seconds. There is a column for each role."),
];

impl ReportTask for Transcribe {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn own_columns(&self) -> &'static [OwnColumn] {
        OWN_COLUMNS
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError> {
        Ok(Box::new(spec.read::<Transcription>()?))
    }

    fn invented(&self) -> &'static str {
        "transcripts are invented"
    }
}

impl BatchRequest for Transcription {
    fn own_columns(&self) -> Vec<String> {
        own_columns(&self.listening)
    }

    fn job(&self, job: &ReportRow) -> JobRequest {
        let own = job.overrides.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let own: LineOverrides = own.unwrap_or_default();
        let model = own.model.unwrap_or(self.options.model);
        let language = own.language.unwrap_or(self.options.language);
        JobRequest {
            model: Some(model.as_str().to_owned()),
            language: Some(language.as_str().to_owned()),
            own: own_cells(&self.listening, job),
            ..JobRequest::default()
        }
    }

    fn field_of(&self, column: Column) -> Option<Field> {
        let (path, default): (&[&str], _) = match column {
            Column::Model => (&["model"], self.options.model.as_str()),
            Column::Language => (&["language"], self.options.language.as_str()),
            _ => return None,
        };
        Some(Field::Option { path, default: Some(default.to_owned()) })
    }

    fn pool(&self) -> Pool {
        self.options.model.into()
    }

    fn is_priced(&self, rates: &Rates) -> bool {
        rates.known_per_minute(self.options.model).is_some()
    }

    fn price(&self, rates: &Rates) -> String {
        let model = self.options.model;
        match rates.known_per_minute(model) {
            Some(price) => format!("{} a minute by {model}, list price of {}", dollars(price.0), rates.as_of),
            None => unpriced(model.as_str()),
        }
    }

    fn price_of_rest(&self, rest: &Rest, rates: &Rates) -> String {
        let (model, price) = (self.options.model, self.price(rates));
        let price = match (rest.done, rest.audio_ms) {
            _ if rates.known_per_minute(model).is_none() => price,
            (0, _) | (_, 0) => format!("{price}; how long the audio is shows as it is opened"),
            (done, known) => {
                let audio_ms = known / done * rest.jobs;
                let (cost, audio) = (dollars(rates.cost(model, audio_ms).0), duration(audio_ms));
                return format!("about {cost} for {audio} of audio, judging by the {} done ({price})", grouped(done));
            }
        };
        // What is done shows how many calls a recording is; before that the rule is all that is known.
        match self.listening.channels {
            ChannelMode::Mix => price,
            ChannelMode::Split | ChannelMode::Auto => {
                format!("{price}; a recording of two channels is two calls where both speak")
            }
            ChannelMode::Packed => {
                format!("{price}; of a recording of two channels, what each side speaks is paid for")
            }
        }
    }

    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String {
        price_of(self.options.model, plan, rates)
    }

    fn other_way(&self, name: &str, plan: &Retried, rates: &Rates) -> Result<(String, String), String> {
        let way: OtherWay = named(name)?;
        let model = way.model().unwrap_or(self.options.model);
        if way.model() == Some(self.options.model) {
            return Err(format!("the lines were transcribed with `{model}`; name the other model, or `split`"));
        }
        if way == OtherWay::Split && self.listening.channels == ChannelMode::Split {
            return Err("the channels were transcribed one by one; name another model".to_owned());
        }
        let options = TranscribeOptions { model, ..self.options.clone() };
        if let Some(fault) = options.faults().into_iter().next() {
            return Err(fault.message);
        }
        // How many channels speak is known when a recording is heard.
        let (units, most) = if way == OtherWay::Split { (plan.units * 2, "at most ") } else { (plan.units, "") };
        let price = price_of(model, &Retried { units, ..*plan }, rates);
        Ok((way.to_string(), format!("{most}{price}")))
    }

    fn may_be_posted(&self, option_columns: &[String]) -> bool {
        let pro = self.options.model == SttModel::PulsePro || option_columns.iter().any(|column| column == "model");
        match self.webhook {
            WebhookMode::Auto => pro,
            WebhookMode::Always => true,
            WebhookMode::Never => false,
        }
    }
}

/// What audio costs with a model, as text.
fn price_of(model: SttModel, plan: &Retried, rates: &Rates) -> String {
    if rates.known_per_minute(model).is_none() {
        return format!("at a price that is {}", unpriced(model.as_str()));
    }
    let known = format!("about {} for {} of audio", dollars(rates.cost(model, plan.units).0), duration(plan.units));
    match (plan.unknown, plan.units) {
        (0, _) => known,
        (_, 0) => format!("at {} a minute, of unknown length", dollars(rates.per_minute(model).0)),
        (n, _) => format!("{known}, and {} of unknown length", counted(n, "line")),
    }
}

/// The names of roles as they stand in columns, each once: `channel 1` as `channel_1`. A batch whose roles are not known has those of
/// two channels.
fn roles(listening: &Listening) -> Vec<String> {
    let last = listening.roles.0.keys().copied().max().unwrap_or(0).max(2);
    let mut roles = Vec::new();
    for channel in 1..=last {
        let is_named = channel <= 2 || listening.roles.0.contains_key(&channel);
        let role = in_column(&listening.roles.name(channel));
        if is_named && !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}

/// A role's name as it stands in the name of a column.
fn in_column(role: &str) -> String {
    role.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).flat_map(char::to_lowercase).collect()
}

fn own_columns(listening: &Listening) -> Vec<String> {
    if listening.channels == ChannelMode::Mix {
        return Vec::new();
    }
    let (of_role, of_all): (Vec<_>, Vec<_>) = OWN_COLUMNS.iter().partition(|(name, _)| name.contains(ROLE));
    let of_roles = roles(listening)
        .into_iter()
        .flat_map(|role| of_role.iter().map(move |(name, _)| name.replace(ROLE, &role)).collect::<Vec<_>>());
    of_all.iter().map(|(name, _)| (*name).to_owned()).chain(of_roles).collect()
}

/// The cells of [`own_columns`], in the same order. What is not known is empty.
fn own_cells(listening: &Listening, job: &ReportRow) -> Vec<OwnCell> {
    if listening.channels == ChannelMode::Mix {
        return Vec::new();
    }
    let ms = |value: Option<u64>| value.map_or(OwnCell::Empty, OwnCell::Ms);
    let count = |value: Option<u64>| value.map_or(OwnCell::Empty, OwnCell::Count);
    let talk = job.talk.as_ref();
    let mut cells = vec![
        ms(talk.map(|talk| talk.silence_ms)),
        ms(talk.map(|talk| talk.longest_silence_ms)),
        ms(talk.map(|talk| talk.overlap_ms)),
        count(talk.map(Talk::interruptions)),
        count(talk.map(Talk::turns)),
        job.channels_note.clone().map_or(OwnCell::Empty, OwnCell::Text),
    ];
    for role in roles(listening) {
        let sides: Vec<&SideTalk> =
            talk.into_iter().flat_map(|talk| &talk.sides).filter(|side| in_column(&side.name) == role).collect();
        cells.push(ms((!sides.is_empty()).then(|| sides.iter().map(|side| side.talk_ms).sum())));
        cells.push(ms(sides.iter().filter_map(|side| side.first_word_ms).min()));
    }
    cells
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::listening::Roles;

    fn with_roles(roles: &[(u16, &str)]) -> Listening {
        let roles = Roles(roles.iter().map(|&(channel, role)| (channel, role.to_owned())).collect::<BTreeMap<_, _>>());
        Listening { channels: ChannelMode::Split, roles, ..Listening::default() }
    }

    #[test]
    fn a_report_has_columns_for_each_role() {
        let names = own_columns(&with_roles(&[(1, "agent"), (2, "customer")])).join(",");
        insta::assert_snapshot!(names, @"silence_s,longest_silence_s,overlap_s,interruptions,turns,channels_note,agent_talk_s,agent_first_word_s,customer_talk_s,customer_first_word_s");
        assert_eq!(roles(&with_roles(&[])), ["channel_1", "channel_2"]);
        assert_eq!(roles(&with_roles(&[(2, "The Client")])), ["channel_1", "the_client"]);
        assert_eq!(roles(&with_roles(&[(1, "agent"), (2, "Agent"), (4, "bot")])), ["agent", "bot"]);
        assert_eq!(own_columns(&Listening::default()), [""; 0]);
    }
}
