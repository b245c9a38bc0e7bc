//! Money: micro-dollars, and a dated table of list prices.

use std::{collections::BTreeMap, fmt, iter::Sum};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    chat::{Chat, ChatEndpoint, ChatModel, Usage},
    options::SttModel,
    synthesis_options::TtsModel,
};

/// The day on which the built-in prices were read from the vendor's pages.
pub const RATES_AS_OF: &str = "2026-09-07";

const MICROS: f64 = 1_000_000.0;

/// An amount of US dollars in millionths. Written as `1.234567`; in JSON and TOML as a number of dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// A billion dollars. A call that would cost more is a mistake: it is refused, and its price counts as this amount. Sums of
    /// such prices fit into the ledger.
    pub const MOST: Self = Self(1_000_000_000_000_000);

    /// The amount nearest to `usd` dollars; `None` if that is not a number or too large.
    #[must_use]
    pub fn from_usd(usd: f64) -> Option<Self> {
        let micros = (usd * MICROS).round();
        (micros.abs() < 9e18).then_some(Self(micros as i64))
    }

    /// The amount in dollars, for sums that need not be exact.
    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / MICROS
    }

    /// The cost of `units` if `per` units cost `price`, rounded up; at most [`MicroUsd::MOST`].
    #[must_use]
    pub fn share(price: Self, units: u64, per: u32) -> Self {
        let per = i128::from(per.max(1));
        let micros = (i128::from(price.0.max(0)) * i128::from(units) + per - 1) / per;
        i64::try_from(micros).map_or(Self::MOST, |micros| Self(micros).min(Self::MOST))
    }

    /// The sum, or `None` if it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The sum, or the largest possible amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, or the smallest possible amount.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, micros) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        f.pad(&format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000))
    }
}

impl Sum for MicroUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl Serialize for MicroUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.usd())
    }
}

impl<'de> Deserialize<'de> for MicroUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(deserializer)?;
        Self::from_usd(usd).ok_or_else(|| de::Error::custom(format!("`{usd}` is not an amount of dollars")))
    }
}

/// The prices of a million tokens, in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenPrices {
    /// Of tokens that are read.
    #[serde(deserialize_with = "price")]
    pub input: MicroUsd,
    /// Of tokens that are read, and were in the vendor's cache.
    #[serde(deserialize_with = "price")]
    pub cached: MicroUsd,
    /// Of tokens that are written.
    #[serde(deserialize_with = "price")]
    pub output: MicroUsd,
}

impl TokenPrices {
    /// What these tokens cost, rounded up to the micro-dollar.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        let of = |price: MicroUsd, tokens: u64| i128::from(price.0.max(0)) * i128::from(tokens);
        let all = of(self.input, usage.fresh_tokens())
            + of(self.cached, usage.prompt_tokens - usage.fresh_tokens())
            + of(self.output, usage.completion_tokens);
        let micros = (all + 999_999) / 1_000_000;
        i64::try_from(micros).map_or(MicroUsd::MOST, |micros| MicroUsd(micros).min(MicroUsd::MOST))
    }
}

/// List prices in dollars, per minute of audio, per 10,000 characters of text and per million tokens. `[rates]` of `wavebatch.toml` can
/// override them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// The date of these prices.
    pub as_of: String,
    /// The price of one minute with `pulse`.
    #[serde(deserialize_with = "price")]
    pub pulse: MicroUsd,
    /// The price of one minute with `pulse-pro`.
    #[serde(rename = "pulse-pro", deserialize_with = "price")]
    pub pulse_pro: MicroUsd,
    /// The price of one minute with `pulse-live`.
    #[serde(rename = "pulse-live", deserialize_with = "price", default = "live")]
    pub pulse_live: MicroUsd,
    /// The price of 10,000 characters with `lightning_v3.1`.
    #[serde(deserialize_with = "price")]
    pub lightning: MicroUsd,
    /// The price of 10,000 characters with `lightning_v3.1_pro`.
    #[serde(rename = "lightning-pro", deserialize_with = "price")]
    pub lightning_pro: MicroUsd,
    /// The prices of a million tokens with `electron`.
    pub electron: TokenPrices,
    /// The price of one request for an analysis of a call, if it is known: the vendor publishes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pca: Option<MicroUsd>,
    /// Prices of chat models that this release does not know, by model name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chat: BTreeMap<String, TokenPrices>,
    /// Prices of other models that this release does not know, by model name: per minute of audio, or per 10,000 characters.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, MicroUsd>,
    /// Whether `[spend]` limits the cost of all batches. If so, the price of each call must be known.
    #[serde(skip)]
    pub are_limited: bool,
}

/// The list price of a minute of a live session (API page 4; other pages have 0.006).
const fn live() -> MicroUsd {
    MicroUsd(8_000)
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            as_of: RATES_AS_OF.into(),
            pulse: MicroUsd(5_000),
            pulse_pro: MicroUsd(4_000),
            pulse_live: live(),
            lightning: MicroUsd(175_000),
            lightning_pro: MicroUsd(195_000),
            electron: TokenPrices { input: MicroUsd(400_000), cached: MicroUsd(100_000), output: MicroUsd(1_600_000) },
            pca: None,
            chat: BTreeMap::new(),
            models: BTreeMap::new(),
            are_limited: false,
        }
    }
}

impl Rates {
    /// The price of one minute; `None` if no price of the model is known.
    #[must_use]
    pub fn known_per_minute(&self, model: SttModel) -> Option<MicroUsd> {
        match model {
            SttModel::Pulse => Some(self.pulse),
            SttModel::PulsePro => Some(self.pulse_pro),
            SttModel::PulseLive => Some(self.pulse_live),
            SttModel::Other(_) => self.models.get(model.as_str()).copied(),
        }
    }

    /// The price of one minute as it is counted: an unknown price counts as 0.
    #[must_use]
    pub fn per_minute(&self, model: SttModel) -> MicroUsd {
        self.known_per_minute(model).unwrap_or_default()
    }

    /// The list price of one call for `audio_ms` of audio, rounded up to the micro-dollar.
    #[must_use]
    pub fn cost(&self, model: SttModel, audio_ms: u64) -> MicroUsd {
        MicroUsd::share(self.per_minute(model), audio_ms, 60_000)
    }
}

impl Rates {
    /// The price of 10,000 characters; `None` if no price of the model is known.
    #[must_use]
    pub fn known_per_10k_chars(&self, model: TtsModel) -> Option<MicroUsd> {
        match model {
            TtsModel::Lightning => Some(self.lightning),
            TtsModel::LightningPro => Some(self.lightning_pro),
            TtsModel::Other(_) => self.models.get(model.as_str()).copied(),
        }
    }

    /// The price of 10,000 characters as it is counted: an unknown price counts as 0.
    #[must_use]
    pub fn per_10k_chars(&self, model: TtsModel) -> MicroUsd {
        self.known_per_10k_chars(model).unwrap_or_default()
    }

    /// The list price of synthesizing `chars` characters of text, rounded up to the micro-dollar.
    #[must_use]
    pub fn synthesis_cost(&self, model: TtsModel, chars: u64) -> MicroUsd {
        MicroUsd::share(self.per_10k_chars(model), chars, 10_000)
    }
}

impl Rates {
    /// The prices of a million tokens; `None` if no price of the model is known.
    #[must_use]
    pub fn known_per_million_tokens(&self, model: ChatModel) -> Option<TokenPrices> {
        match model {
            ChatModel::Electron => Some(self.electron),
            ChatModel::Other(_) => self.chat.get(model.as_str()).copied(),
        }
    }

    /// What the requests of a batch cost; `None` if that is not known.
    #[must_use]
    pub fn chat_price(&self, asked: &Chat) -> Option<ChatPrice> {
        match asked.endpoint {
            ChatEndpoint::Chat => self.known_per_million_tokens(asked.options.model).map(ChatPrice::Tokens),
            ChatEndpoint::Pca => self.pca.map(ChatPrice::Request),
        }
    }

    /// The list price of requests that use these tokens, rounded up to the micro-dollar. An unknown price counts as 0.
    #[must_use]
    pub fn chat_cost(&self, asked: &Chat, usage: &Usage, requests: u64) -> MicroUsd {
        self.chat_price(asked).map_or(MicroUsd::ZERO, |price| price.cost(usage, requests))
    }
}

/// What requests are paid by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatPrice {
    /// By their tokens.
    Tokens(TokenPrices),
    /// Each alike.
    Request(MicroUsd),
}

impl ChatPrice {
    /// What so many requests cost that use these tokens together.
    #[must_use]
    pub fn cost(&self, usage: &Usage, requests: u64) -> MicroUsd {
        match self {
            Self::Tokens(prices) => prices.cost(usage),
            Self::Request(price) => MicroUsd::share(*price, requests, 1),
        }
    }
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MicroUsd, D::Error> {
    let price = MicroUsd::deserialize(deserializer)?;
    if price.0 < 0 {
        return Err(de::Error::custom(format!("`{price}` is not a price; a price is 0 or more")));
    }
    Ok(price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_six_decimals() {
        for (micros, text) in [(0, "0.000000"), (1_234_567, "1.234567"), (-5, "-0.000005"), (12_000_000, "12.000000")] {
            assert_eq!(MicroUsd(micros).to_string(), text);
        }
        assert_eq!(MicroUsd(i64::MIN).to_string(), "-9223372036854.775808");
    }

    #[test]
    fn costs_are_rounded_up() {
        let rates = Rates::default();
        assert_eq!(rates.cost(SttModel::Pulse, 60_000), MicroUsd(5_000));
        assert_eq!(rates.cost(SttModel::PulsePro, 90_000), MicroUsd(6_000));
        assert_eq!(rates.cost(SttModel::Pulse, 1), MicroUsd(1));
        assert_eq!(rates.cost(SttModel::Pulse, 0), MicroUsd::ZERO);
        assert_eq!(rates.cost(SttModel::Pulse, u64::MAX), MicroUsd::MOST);
        let dear = Rates { pulse: MicroUsd(i64::MAX), ..Rates::default() };
        assert_eq!(dear.cost(SttModel::Pulse, 60_000), MicroUsd::MOST);
    }

    #[test]
    fn speech_costs_by_its_characters() {
        let rates = Rates { lightning_pro: MicroUsd(300_000), ..Rates::default() };
        assert_eq!(rates.synthesis_cost(TtsModel::Lightning, 200_000), MicroUsd(3_500_000));
        assert_eq!(rates.synthesis_cost(TtsModel::Lightning, 1), MicroUsd(18), "17.5, rounded up");
        assert_eq!(rates.synthesis_cost(TtsModel::LightningPro, 10_000), MicroUsd(300_000));
        let list = Rates::default();
        let per = |model| list.known_per_10k_chars(model);
        assert_eq!(per(TtsModel::Lightning), Some(MicroUsd(175_000)));
        assert_eq!(per(TtsModel::LightningPro), Some(MicroUsd(195_000)));
        let own: Rates = toml::from_str("lightning = 0.1").unwrap();
        assert_eq!((own.lightning, own.lightning_pro), (MicroUsd(100_000), MicroUsd(195_000)));
    }

    #[test]
    fn chat_costs_by_its_tokens_and_cached_ones_are_cheaper() {
        let rates = Rates::default();
        let asked = |model: &str| -> Chat {
            serde_json::from_value(serde_json::json!({"options": {"model": model}, "repairs": 1})).unwrap()
        };
        let cost = |rates: &Rates, usage| rates.chat_cost(&asked("electron"), &usage, 2);
        let usage = Usage { prompt_tokens: 1_000_000, cached_tokens: 750_000, completion_tokens: 100_000 };
        assert_eq!(cost(&rates, usage), MicroUsd(100_000 + 75_000 + 160_000));
        let little = Usage { prompt_tokens: 3, cached_tokens: 0, completion_tokens: 0 };
        assert_eq!(cost(&rates, little), MicroUsd(2), "1.2, rounded up once");
        let most = Usage { prompt_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(cost(&rates, most), MicroUsd::MOST);
        let other = "electron-2".parse().unwrap();
        assert_eq!(rates.chat_price(&asked("electron-2")), None);
        assert_eq!(rates.chat_cost(&asked("electron-2"), &usage, 1), MicroUsd::ZERO);
        let analysis = Chat { endpoint: ChatEndpoint::Pca, ..asked("electron") };
        assert_eq!((rates.chat_price(&analysis), rates.chat_cost(&analysis, &usage, 9)), (None, MicroUsd::ZERO));
        let known = Rates { pca: Some(MicroUsd(20_000)), ..Rates::default() };
        assert_eq!(known.chat_cost(&analysis, &usage, 3), MicroUsd(60_000), "each request alike, whatever it uses");
        let own: Rates = toml::from_str("electron = { output = 2 }\nchat.electron-2 = { input = 1 }").unwrap();
        assert_eq!(own.known_per_million_tokens(other).unwrap().input, MicroUsd(1_000_000));
        assert_eq!(own.electron.output, MicroUsd(2_000_000));
    }

    #[test]
    fn the_price_of_an_unknown_model_is_unknown_until_somebody_tells_it() {
        let (heard, spoken) = ("pulse-2".parse().unwrap(), "lightning_v4".parse().unwrap());
        let mut rates = Rates::default();
        assert_eq!((rates.known_per_minute(heard), rates.known_per_10k_chars(spoken)), (None, None));
        assert_eq!((rates.cost(heard, 60_000), rates.synthesis_cost(spoken, 9)), (MicroUsd::ZERO, MicroUsd::ZERO));
        rates.models.insert("pulse-2".into(), MicroUsd(6_000));
        assert_eq!(
            (rates.known_per_minute(heard), rates.cost(heard, 30_000)),
            (Some(MicroUsd(6_000)), MicroUsd(3_000))
        );
    }

    #[test]
    fn sums_never_wrap() {
        assert_eq!(MicroUsd(i64::MAX).checked_add(MicroUsd(1)), None);
        assert_eq!([MicroUsd(i64::MAX), MicroUsd(1)].into_iter().sum::<MicroUsd>(), MicroUsd(i64::MAX));
    }

    #[test]
    fn rates_are_overridden_one_by_one() {
        let rates: Rates = toml::from_str("pulse = 0.0035\nas_of = \"2026-09-01\"").unwrap();
        assert_eq!((rates.pulse, rates.pulse_pro), (MicroUsd(3_500), MicroUsd(4_000)));
        assert_eq!(toml::from_str::<Rates>("pulse = 0").unwrap().pulse, MicroUsd::ZERO);
        for wrong in ["pulse = -1.0", "pulse = nan", "puls = 1.0"] {
            assert!(toml::from_str::<Rates>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_survive_json() {
        let text = serde_json::to_string(&MicroUsd(1_234_567)).unwrap();
        assert_eq!(text, "1.234567");
        assert_eq!(serde_json::from_str::<MicroUsd>(&text).unwrap(), MicroUsd(1_234_567));
    }
}
