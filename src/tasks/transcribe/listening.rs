//! What a definition says of channels and of listening: fields of `[transcribe]`, `[audio]`, and the rules between them.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use toml::de::{DeTable, DeValue};

use crate::{
    definition::{
        build::Builder,
        fields::fields,
        text::{duration, named, ticked},
        walk::{Section, TomlWalk, Wrong},
    },
    domain::{
        cuts::SHORTEST_PIECE_MS,
        listening::{Analyze, CHANNELS_MOST, ChannelMode, Listening, NoSpeech, Prepare, RawAudio, RawEncoding, Roles},
        options::{SendMode, SttModel, TranscribeOptions},
        transcript::AlarmLimits,
    },
};

fields! {
    /// What recordings are, where they do not say it themselves.
    pub(super) AUDIO = "audio" {
        /// What a file without a header is, as recorders of telephone calls write it. `encoding` is `ulaw`, `alaw`, `s16le`, `s16be` or `g722`; `channels` is 1 if it is absent.
        "raw": "a table, e.g. { encoding = \"ulaw\", rate = 8000, channels = 1 }" () => Nothing;
    }
}

fields! {
    /// From when on an answer does not fit what was heard in its recording, and its line is suspect. They hold where recordings are
    /// heard (`analyze`).
    pub(super) ALARMS = "alarms" {
        /// So much speech without any word: `unheard`.
        "unheard": "a duration" (= "\"3s\"") => Nothing;
        /// So much speech after the last word: `cut_off`.
        "cut_off": "a duration" (= "\"10s\"") => Nothing;
        /// More words than this where nobody speaks: `invented`.
        "invented": "a duration" (= "\"2s\"") => Nothing;
        /// So much speech with under half a word a second: `sparse`.
        "sparse": "a duration" (= "\"1m\"") => Nothing;
        /// So much speech of a channel that speaks alone and has no words, in a recording whose channels are mixed: `one_sided`.
        "one_sided": "a duration" (= "\"10s\"") => Nothing;
        /// How often a phrase is said one time after the other that cannot be: `looped`. At least 2.
        "loops": "a whole number" (= "4") => Nothing;
    }
}

/// The longest name of a role, in characters: it stands before each caption.
const ROLE_MOST: usize = 40;
/// Sampling rates that recorders use, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// The fields that a file sets; `None` if it does not set one.
#[derive(Debug, Clone, Default)]
pub(super) struct ListeningDraft {
    channels: Option<ChannelMode>,
    roles: Option<Roles>,
    no_speech: Option<NoSpeech>,
    analyze: Option<Analyze>,
    prepare: Option<Prepare>,
    trim_silence: Option<bool>,
    max_piece_ms: Option<u64>,
    raw: Option<RawAudio>,
    alarms: AlarmLimits,
}

impl ListeningDraft {
    /// Reads the fields of `[transcribe]`.
    pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> Self {
        Self {
            channels: walk.text(section, "channels", named),
            roles: walk.any_of(section, "roles", |value| match value {
                DeValue::Table(table) => roles_of(table),
                _ => Err("must be a table, like { 1 = \"agent\", 2 = \"customer\" }".to_owned()),
            }),
            no_speech: walk.text(section, "no_speech", named),
            analyze: walk.text(section, "analyze", named),
            prepare: walk.text(section, "prepare", named),
            trim_silence: walk.flag(section, "trim_silence"),
            max_piece_ms: walk.text(section, "max_piece", piece_ms),
            raw: None,
            alarms: AlarmLimits::default(),
        }
    }

    /// Reads `[alarms]`.
    pub(super) fn read_alarms<'t>(&mut self, walk: &mut TomlWalk<'t>, mut section: Section<'t>) {
        let AlarmLimits { unheard_ms, cut_off_ms, invented_ms, sparse_ms, one_sided_ms, loops, .. } = &mut self.alarms;
        let limits = [
            ("unheard", unheard_ms),
            ("cut_off", cut_off_ms),
            ("invented", invented_ms),
            ("sparse", sparse_ms),
            ("one_sided", one_sided_ms),
        ];
        for (name, limit) in limits {
            if let Some(time) = walk.text(&mut section, name, duration) {
                *limit = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            }
        }
        let times = walk.take(&mut section, "loops", |value| {
            let times = value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
            match times.map(usize::try_from) {
                Some(Ok(times @ 2..)) => Ok(times),
                Some(_) => Err(Wrong::Value("a phrase is said at least 2 times".into())),
                None => Err(Wrong::Type("a whole number")),
            }
        });
        *loops = times.unwrap_or(*loops);
        walk.close(section);
    }

    /// Reads `[audio]`.
    pub(super) fn read_audio<'t>(&mut self, walk: &mut TomlWalk<'t>, mut section: Section<'t>) {
        self.raw = walk.any_of(&mut section, "raw", |value| match value {
            DeValue::Table(table) => raw_of(table),
            _ => Err("must be a table, like { encoding = \"ulaw\", rate = 8000 }".to_owned()),
        });
        walk.close(section);
    }

    /// What is asked for, with the flags merged in; what contradicts itself is a fault.
    pub(super) fn build(&self, on: &mut Builder<'_>, options: Option<&TranscribeOptions>) -> Listening {
        let default = Listening::default();
        let is_live = options.is_some_and(|options| options.model == SttModel::PulseLive);
        let roles = match on.over.flags.all("roles").map(roles_in_order) {
            Some(Ok(roles)) => Some(roles),
            Some(Err(message)) => {
                on.fault("transcribe.roles", message);
                None
            }
            None => self.roles.clone(),
        };
        let asked = Listening {
            channels: flag(on, "channels").or(self.channels).unwrap_or(default.channels),
            roles: roles.unwrap_or_default(),
            no_speech: flag(on, "no_speech").or(self.no_speech).unwrap_or(default.no_speech),
            analyze: self.analyze.unwrap_or(default.analyze),
            prepare: flag(on, "prepare").or(self.prepare).unwrap_or(default.prepare),
            trim_silence: flag(on, "trim_silence").or(self.trim_silence).unwrap_or(default.trim_silence),
            max_piece_ms: Self::max_piece(on).or(self.max_piece_ms).or(is_live.then_some(LIVE_PIECE_MS)),
            raw: self.raw,
            alarms: self.alarms,
        };
        for (field, message) in contradictions(&asked, options) {
            on.fault(field, message);
        }
        asked
    }

    /// What the flag says.
    fn max_piece(on: &mut Builder<'_>) -> Option<u64> {
        let text = on.over.flags.one("max-piece")?.clone();
        piece_ms(&text).map_err(|message| on.fault("transcribe.max_piece", message)).ok()
    }
}

/// The most of a recording that one live session sends, in ms, unless the definition says otherwise: so much is lost with a cut
/// socket.
const LIVE_PIECE_MS: u64 = 300_000;

/// The most that one call sends, in ms: shorter pieces would have too few words in common.
fn piece_ms(text: &str) -> Result<u64, String> {
    let ms = u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX);
    match ms {
        SHORTEST_PIECE_MS.. => Ok(ms),
        _ => Err(format!(
            "is {text}, and a piece is at most as long as you say and at least {} s",
            SHORTEST_PIECE_MS / 1_000
        )),
    }
}

/// What cannot be done together, each with the field to change.
fn contradictions(asked: &Listening, options: Option<&TranscribeOptions>) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let is_by_channel = asked.channels != ChannelMode::Mix;
    if !is_by_channel && !asked.roles.0.is_empty() {
        let message = "have no effect while all channels are sent as one; write channels = \"split\" or \"auto\"";
        found.push(("transcribe.roles", message.to_owned()));
    }
    if asked.analyze == Analyze::Never {
        let why = [
            (is_by_channel, format!("channels = \"{}\"", asked.channels)),
            (asked.no_speech == NoSpeech::Skip, "no_speech = \"skip\"".to_owned()),
            (asked.trim_silence, "trim_silence = true".to_owned()),
            (asked.max_piece_ms.is_some(), "max_piece".to_owned()),
        ];
        if let Some((_, why)) = why.into_iter().find(|(asked, _)| *asked) {
            let message = format!("is \"never\", but {why} needs to hear the recordings; write analyze = \"auto\"");
            found.push(("transcribe.analyze", message));
        }
    }
    if asked.channels == ChannelMode::Packed && asked.trim_silence {
        let message = "has no effect: what is packed has no silences; leave one of the two out";
        found.push(("transcribe.trim_silence", message.to_owned()));
    }
    if asked.prepare == Prepare::Never {
        let why = [
            (asked.channels == ChannelMode::Packed, "channels = \"packed\""),
            (asked.trim_silence, "trim_silence = true"),
            (asked.max_piece_ms.is_some(), "max_piece"),
        ];
        if let Some((_, why)) = why.into_iter().find(|(asked, _)| *asked) {
            let message =
                format!("is \"never\", but {why} sends something made of the recording; write prepare = \"auto\"");
            found.push(("transcribe.prepare", message));
        }
    }
    let is_url = options.is_some_and(|options| options.send == SendMode::Url);
    if is_url && (asked.needs_hearing() || asked.prepare.is_a_conversion()) {
        let message = "is \"url\": the API fetches the recordings itself, and nothing can be heard or converted; write send = \"auto\"";
        found.push(("transcribe.send", message.to_owned()));
    }
    found
}

/// The value of a flag; a wrong one is a fault.
fn flag<T: FromStr<Err: Display>>(on: &mut Builder<'_>, field: &str) -> Option<T> {
    let text = on.over.flags.one(&field.replace('_', "-"))?.clone();
    text.parse().map_err(|e: T::Err| on.fault(&format!("transcribe.{field}"), e.to_string())).ok()
}

/// Roles by channel.
fn roles_of(table: &DeTable<'_>) -> Result<Roles, String> {
    let mut roles = BTreeMap::new();
    for (channel, role) in table {
        let name = channel.get_ref();
        let number = name.parse().ok().filter(|number| (1..=CHANNELS_MOST).contains(number));
        let number = number.ok_or_else(|| {
            format!("`{name}` is no channel: channels are counted from 1 to {CHANNELS_MOST}, like {{ 1 = \"agent\" }}")
        })?;
        let role = role.get_ref().as_str().ok_or_else(|| format!("the role of channel {number} must be a string"))?;
        roles.insert(number, role_of(role)?);
    }
    distinct(roles)
}

/// The roles of a flag: of channel 1, of channel 2, and so on.
fn roles_in_order(names: &[String]) -> Result<Roles, String> {
    let roles: Result<BTreeMap<u16, String>, String> =
        (1..).zip(names).map(|(at, name)| Ok((at, role_of(name)?))).collect();
    distinct(roles?)
}

/// A role as it stands before what is said, and in a column's name.
pub(super) fn role_of(text: &str) -> Result<String, String> {
    let role = text.trim();
    if role.is_empty() {
        return Err("a role cannot be empty".to_owned());
    }
    if role.chars().any(char::is_control) || role.chars().count() > ROLE_MOST {
        return Err(format!("a role is one line of at most {ROLE_MOST} characters"));
    }
    Ok(role.to_owned())
}

fn distinct(roles: BTreeMap<u16, String>) -> Result<Roles, String> {
    let doubled: Vec<&str> = roles
        .iter()
        .filter(|(at, role)| roles.range(..*at).any(|(_, other)| other == *role))
        .map(|(_, role)| role.as_str())
        .collect();
    if doubled.is_empty() { Ok(Roles(roles)) } else { Err(format!("two channels have the role {}", ticked(&doubled))) }
}

/// What a file without a header is.
fn raw_of(table: &DeTable<'_>) -> Result<RawAudio, String> {
    let known = ["encoding", "rate", "channels"];
    if let Some((other, _)) = table.iter().find(|(name, _)| !known.contains(&name.get_ref().as_ref())) {
        return Err(format!("`{}` is not known; it has {}", other.get_ref(), ticked(&known)));
    }
    let number = |name: &str| match table.get(name).map(|value| value.get_ref()) {
        None => Ok(None),
        Some(DeValue::Integer(number)) => {
            let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
            number.map(Some).ok_or_else(|| format!("`{name}` must be a number above 0"))
        }
        Some(_) => Err(format!("`{name}` must be a number")),
    };
    let encoding = table.get("encoding").ok_or("lacks `encoding`, e.g. encoding = \"ulaw\"")?.get_ref();
    let encoding: RawEncoding = named(encoding.as_str().ok_or("`encoding` must be a string")?)?;
    let rate = number("rate")?.ok_or("lacks `rate`, e.g. rate = 8000")?;
    let channels = number("channels")?.unwrap_or(1);
    if !RATES.contains(&rate) {
        return Err(format!("`rate` is {rate}: samples a second are from {} to {}", RATES.start(), RATES.end()));
    }
    if encoding == RawEncoding::G722 && (rate, channels) != (16_000, 1) {
        return Err(
            "of `g722`, `rate` is 16000 and `channels` is 1; its 8,000 bytes a second are no rate of samples".into()
        );
    }
    match u16::try_from(channels) {
        Ok(channels) if (1..=CHANNELS_MOST).contains(&channels) => Ok(RawAudio { encoding, rate, channels }),
        _ => Err(format!("`channels` is {channels}: it is from 1 to {CHANNELS_MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(text: &str) -> Result<Roles, String> {
        roles_of(DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn roles_belong_to_channels() {
        let both = roles("1 = ' agent '\n2 = 'customer'").unwrap();
        assert_eq!((both.name(1), both.name(2)), ("agent".into(), "customer".into()));
        assert_eq!(roles_in_order(&["agent".into(), "customer".into()]), Ok(both));
        for (wrong, words) in [
            ("0 = 'agent'", "counted from 1"),
            ("left = 'agent'", "`left` is no channel"),
            ("17 = 'agent'", "counted from 1"),
            ("1 = ''", "cannot be empty"),
            ("1 = 7", "must be a string"),
            ("1 = 'agent'\n2 = 'agent'", "two channels have the role `agent`"),
            ("1 = \"a\\nb\"", "one line"),
        ] {
            let said = roles(wrong).unwrap_err();
            assert!(said.contains(words), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_file_without_a_header_is_described_by_rate_and_encoding() {
        let raw = |text: &str| raw_of(DeTable::parse(text).unwrap().get_ref());
        assert_eq!(
            raw("encoding = 'ulaw'\nrate = 8000"),
            Ok(RawAudio { encoding: RawEncoding::Ulaw, rate: 8_000, channels: 1 })
        );
        let wide = RawAudio { encoding: RawEncoding::G722, rate: 16_000, channels: 1 };
        assert_eq!(raw("encoding = 'g722'\nrate = 16000"), Ok(wide));
        for (wrong, words) in [
            ("rate = 8000", "lacks `encoding`"),
            ("encoding = 'ulaw'", "lacks `rate`"),
            ("encoding = 'mulaw'\nrate = 8000", "did you mean `ulaw`"),
            ("encoding = 'g722'\nrate = 8000", "`rate` is 16000"),
            ("encoding = 'ulaw'\nrate = 8", "from 4000"),
            ("encoding = 'ulaw'\nrate = -8", "above 0"),
            ("encoding = 'ulaw'\nrate = 8000\nchannels = 0", "from 1"),
            ("encoding = 'ulaw'\nrate = 8000\nbits = 8", "`bits` is not known"),
        ] {
            let said = raw(wrong).unwrap_err();
            assert!(said.contains(words), "{wrong}: {said}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_a_fault() {
        let of = |asked: Listening| contradictions(&asked, None).iter().map(|(field, _)| *field).collect::<Vec<_>>();
        let base = Listening::default();
        let agent = roles("1 = 'agent'").unwrap();
        assert_eq!(of(Listening { roles: agent.clone(), ..base.clone() }), ["transcribe.roles"]);
        assert!(of(Listening { roles: agent, channels: ChannelMode::Auto, ..base.clone() }).is_empty());
        let never = Listening { analyze: Analyze::Never, ..base.clone() };
        assert!(of(never.clone()).is_empty());
        assert_eq!(of(Listening { channels: ChannelMode::Split, ..never.clone() }), ["transcribe.analyze"]);
        assert_eq!(of(Listening { no_speech: NoSpeech::Skip, ..never.clone() }), ["transcribe.analyze"]);
        assert_eq!(of(Listening { trim_silence: true, ..never.clone() }), ["transcribe.analyze"]);
        assert_eq!(of(Listening { max_piece_ms: Some(60_000), ..never }), ["transcribe.analyze"]);
        let packed = Listening { channels: ChannelMode::Packed, ..base.clone() };
        assert!(of(packed.clone()).is_empty());
        assert_eq!(of(Listening { trim_silence: true, ..packed.clone() }), ["transcribe.trim_silence"]);
        assert_eq!(of(Listening { prepare: Prepare::Never, ..packed }), ["transcribe.prepare"]);
        let as_it_is = Listening { prepare: Prepare::Never, ..base };
        assert!(of(Listening { channels: ChannelMode::Split, ..as_it_is.clone() }).is_empty());
        assert_eq!(of(Listening { max_piece_ms: Some(60_000), ..as_it_is }), ["transcribe.prepare"]);
    }

    #[test]
    fn a_piece_is_long_enough_to_be_joined() {
        assert_eq!((piece_ms("10m"), piece_ms("60s")), (Ok(600_000), Ok(60_000)));
        for (text, words) in [("59s", "at least 60 s"), ("0s", "at least 60 s"), ("ten", "ten")] {
            assert!(piece_ms(text).unwrap_err().contains(words), "{text}: {:?}", piece_ms(text));
        }
    }
}
