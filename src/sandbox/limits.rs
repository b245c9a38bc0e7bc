//! Requests per minute and calls in flight, counted as the API does: per model of transcription, for chat, for analyses, and for all
//! of synthesis together.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::options::SttModel;

const MINUTE: Duration = Duration::from_secs(60);

/// What shares its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// One model of transcription; those that are not known share theirs.
    Stt(SttModel),
    /// Synthesis, whatever the model.
    Tts,
    /// Chat.
    Chat,
    /// Analyses of calls.
    Pca,
    /// The making of voices.
    Clone,
}

impl From<SttModel> for Lane {
    fn from(model: SttModel) -> Self {
        Self::Stt(model)
    }
}

impl Lane {
    const COUNT: usize = 8;

    const fn index(self) -> usize {
        match self {
            Self::Stt(SttModel::Pulse) => 0,
            Self::Stt(SttModel::PulsePro) => 1,
            Self::Stt(SttModel::Other(_)) => 2,
            Self::Tts => 3,
            Self::Chat => 4,
            Self::Pca => 5,
            Self::Clone => 6,
            Self::Stt(SttModel::PulseLive) => 7,
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        SttModel::ALL.iter().copied().map(Self::Stt).chain([Self::Tts, Self::Chat, Self::Pca, Self::Clone])
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Stt(model) => match model.known() {
                Some(name) => name,
                None => "other",
            },
            Self::Tts => "tts",
            Self::Chat => "chat",
            Self::Pca => "pca",
            Self::Clone => "clones",
        }
    }
}

/// Which limit a call ran into, and how long until there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Rate(Duration),
    Concurrency,
}

/// The limits, and what was measured against them.
#[derive(Debug)]
pub(super) struct Limits {
    tts_concurrency: Option<u32>,
    meters: Mutex<Meters>,
}

/// One meter for all calls together, and one for each lane; and the limits of transcription, chat and analyses, which may be set again.
#[derive(Debug, Default)]
struct Meters {
    requests_per_minute: Option<u32>,
    concurrency: Option<u32>,
    all: Meter,
    lanes: [Meter; Lane::COUNT],
}

/// What one meter shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MeterReading {
    pub in_flight: u32,
    pub peak_in_flight: u32,
    pub most_in_a_minute: u32,
}

#[derive(Debug, Default)]
struct Meter {
    /// Arrivals of the last minute, oldest first.
    window: VecDeque<Instant>,
    reading: MeterReading,
}

impl Meter {
    fn forget_before(&mut self, now: Instant) {
        while self.window.front().is_some_and(|at| now.duration_since(*at) >= MINUTE) {
            self.window.pop_front();
        }
    }

    fn admit(&mut self, now: Instant) {
        self.window.push_back(now);
        let MeterReading { in_flight, peak_in_flight, most_in_a_minute } = &mut self.reading;
        *in_flight += 1;
        *peak_in_flight = (*peak_in_flight).max(*in_flight);
        *most_in_a_minute = (*most_in_a_minute).max(self.window.len() as u32);
    }
}

impl Meters {
    fn admit(
        &mut self,
        lane: impl Into<Lane>,
        now: Instant,
        rpm: Option<u32>,
        concurrency: Option<u32>,
    ) -> Result<(), Over> {
        self.all.forget_before(now);
        let meter = &mut self.lanes[lane.into().index()];
        meter.forget_before(now);
        if let Some(above) = rpm.and_then(|limit| meter.window.len().checked_sub(limit as usize)) {
            // There is room when so many of the last minute, and one more, are a minute old.
            let wait = meter.window.get(above).map_or(MINUTE, |at| MINUTE.saturating_sub(now.duration_since(*at)));
            return Err(Over::Rate(wait));
        }
        if concurrency.is_some_and(|limit| meter.reading.in_flight >= limit) {
            return Err(Over::Concurrency);
        }
        meter.admit(now);
        self.all.admit(now);
        Ok(())
    }
}

impl Limits {
    pub(super) fn new(requests_per_minute: Option<u32>, concurrency: Option<u32>) -> Self {
        let limits = Self { tts_concurrency: None, meters: Mutex::default() };
        limits.set(requests_per_minute, concurrency);
        limits
    }

    /// Sets other limits of transcription and chat; what was measured stays.
    pub(super) fn set(&self, requests_per_minute: Option<u32>, concurrency: Option<u32>) {
        self.with(|m| {
            m.requests_per_minute = requests_per_minute;
            m.concurrency = concurrency;
        });
    }

    /// The same with a limit of synthesis in flight.
    pub(super) fn with_tts(self, tts_concurrency: Option<u32>) -> Self {
        Self { tts_concurrency, ..self }
    }

    /// Counts a call that arrived now, or says which limit it is above.
    pub(super) fn admit(self: &Arc<Self>, lane: impl Into<Lane>) -> Result<Slot, Over> {
        let lane = lane.into();
        self.with(|m| {
            let (rpm, concurrency) = match lane {
                Lane::Stt(_) | Lane::Chat | Lane::Pca => (m.requests_per_minute, m.concurrency),
                Lane::Tts => (None, self.tts_concurrency),
                Lane::Clone => (None, None),
            };
            m.admit(lane, Instant::now(), rpm, concurrency)
        })?;
        Ok(Slot { limits: Arc::clone(self), lane, busy_until: None })
    }

    /// What all lanes' calls together came to.
    pub(super) fn reading(&self) -> MeterReading {
        self.with(|m| m.all.reading)
    }

    /// What one lane's calls came to.
    pub(super) fn reading_of(&self, lane: Lane) -> MeterReading {
        self.with(|m| m.lanes[lane.index()].reading)
    }

    /// Forgets all but the calls that are in flight.
    pub(super) fn reset(&self) {
        self.with(|m| {
            for meter in m.lanes.iter_mut().chain([&mut m.all]) {
                meter.window.clear();
                meter.reading.peak_in_flight = meter.reading.in_flight;
                meter.reading.most_in_a_minute = 0;
            }
        });
    }

    fn release(&self, lane: Lane) {
        self.with(|m| {
            m.lanes[lane.index()].reading.in_flight -= 1;
            m.all.reading.in_flight -= 1;
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Meters) -> T) -> T {
        f(&mut self.meters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One call in flight, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Arc<Limits>,
    lane: Lane,
    busy_until: Option<Instant>,
}

impl Slot {
    /// The work on this call goes on until then, whether its client stays or not.
    pub(super) fn works_until(&mut self, until: Instant) {
        self.busy_until = Some(until);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (limits, lane) = (Arc::clone(&self.limits), self.lane);
        match (self.busy_until, tokio::runtime::Handle::try_current()) {
            (Some(until), Ok(runtime)) if until > Instant::now() => {
                runtime.spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    limits.release(lane);
                });
            }
            _ => limits.release(lane),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_rolls() {
        let (mut meters, start) = (Meters::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        let mut admit = |s| meters.admit(SttModel::Pulse, at(s), Some(3), None);
        assert_eq!([admit(0), admit(30), admit(59)], [Ok(()); 3]);
        assert_eq!(admit(59), Err(Over::Rate(Duration::from_secs(1))));
        assert_eq!(admit(60), Ok(()));
        assert_eq!(admit(61), Err(Over::Rate(Duration::from_secs(29))));
        assert_eq!(meters.admit(SttModel::PulsePro, at(61), Some(3), None), Ok(()), "models have minutes of their own");
        assert_eq!(meters.lanes[0].reading.most_in_a_minute, 3);
    }

    #[test]
    fn limits_that_are_lowered_count_what_is_there() {
        let (mut meters, start) = (Meters::default(), Instant::now());
        let at = |s: u64| start + Duration::from_secs(s);
        let mut admit = |s, limit| meters.admit(SttModel::Pulse, at(s), Some(limit), None);
        assert_eq!([admit(0, 9), admit(10, 9), admit(20, 9), admit(30, 9)], [Ok(()); 4]);
        assert_eq!(admit(30, 2), Err(Over::Rate(Duration::from_secs(50))), "when the third is a minute old");
        assert_eq!(admit(30, 0), Err(Over::Rate(Duration::from_secs(60))));
        assert_eq!(admit(81, 2), Ok(()));

        let limits = Arc::new(Limits::new(None, Some(3)));
        let _slots = [limits.admit(SttModel::Pulse).unwrap(), limits.admit(SttModel::Pulse).unwrap()];
        limits.set(Some(9), Some(2));
        assert_eq!(limits.admit(SttModel::Pulse).unwrap_err(), Over::Concurrency);
        limits.set(Some(2), None);
        assert!(matches!(limits.admit(SttModel::Pulse).unwrap_err(), Over::Rate(_)));
        limits.set(None, None);
        assert!(limits.admit(SttModel::Pulse).is_ok());
    }

    #[test]
    fn in_flight_counts_until_dropped() {
        let limits = Arc::new(Limits::new(None, Some(2)));
        let first = limits.admit(SttModel::Pulse).unwrap();
        let _second = limits.admit(SttModel::Pulse).unwrap();
        assert_eq!(limits.admit(SttModel::Pulse).unwrap_err(), Over::Concurrency);
        drop(first);
        assert!(limits.admit(SttModel::Pulse).is_ok());
        assert_eq!(limits.reading().peak_in_flight, 2);
    }
}
