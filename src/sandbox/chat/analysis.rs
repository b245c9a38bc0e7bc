//! `POST /waves/v1/pca`: the analysis of a call. The same transcript has the same values, which fit the types that are asked for, and
//! reasonings that quote it.

use serde_json::{Map, Value, json};

use super::{
    super::faults::mix,
    model::{pick, seed},
    request::{BYTES_A_TOKEN, CONTEXT, ChatMarker},
};
use crate::domain::chat::MetricType;

/// What is asked of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WireMetric {
    identifier: String,
    kind: MetricType,
    choices: Vec<String>,
}

/// What a call asks for.
#[derive(Debug, Clone)]
pub(super) struct AnalysisRequest {
    pub transcript: String,
    metrics: Vec<WireMetric>,
}

impl AnalysisRequest {
    /// Reads a body; an `Err` says what is wrong with it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err("the body must be a JSON object".into());
        };
        let transcript = fields.get("transcript").and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let transcript = transcript.ok_or("'transcript' is required")?.to_owned();
        let metrics = match fields.get("dispositionMetrics") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(metrics)) => metrics.iter().map(metric).collect::<Result<_, _>>()?,
            Some(_) => return Err("'dispositionMetrics' must be a list".into()),
        };
        match body.len().div_ceil(BYTES_A_TOKEN) {
            tokens if tokens >= CONTEXT => Err(format!("this request has {tokens} tokens; the context has {CONTEXT}")),
            _ => Ok(Self { transcript, metrics }),
        }
    }

    /// Whether its transcript has this marker.
    pub(super) fn has(&self, marker: ChatMarker) -> bool {
        self.transcript.contains(&format!("[[{marker}]]"))
    }
}

fn metric(from: &Value) -> Result<WireMetric, String> {
    let text = |name: &str| from.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let identifier = text("identifier").ok_or("a metric has no 'identifier'")?.to_owned();
    text("dispositionMetricPrompt").ok_or_else(|| format!("'{identifier}' has no 'dispositionMetricPrompt'"))?;
    let kind = text("dispositionMetricType").filter(|kind| !kind.contains(char::is_lowercase));
    let kind = kind.and_then(|kind| kind.to_lowercase().parse().ok());
    let kind = kind.ok_or_else(|| format!("the 'dispositionMetricType' of '{identifier}' is not a type"))?;
    let choices = from.get("choices").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let choices: Vec<String> = choices.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if kind == MetricType::Enum && choices.is_empty() {
        return Err(format!("'{identifier}' is an ENUM and has no 'choices'"));
    }
    Ok(WireMetric { identifier, kind, choices })
}

/// The answer to a request.
pub(super) fn analysis_of(request: &AnalysisRequest) -> Value {
    if request.has(ChatMarker::Empty) {
        return json!({"summary": "", "dispositionMetrics": []});
    }
    let lines: Vec<&str> = request.transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_wrong = request.has(ChatMarker::WrongType) || request.has(ChatMarker::WrongTypeAlways);
    let metrics: Vec<Value> = request
        .metrics
        .iter()
        .enumerate()
        .map(|(nth, metric)| {
            let seed = seed(&request.transcript) ^ seed(&metric.identifier);
            let line = lines.get(pick(seed, lines.len() as u64)).copied().unwrap_or_default();
            let reasoning = match request.has(ChatMarker::InventedQuote) {
                true => "I never asked for any of this, and I will call my lawyer",
                false => line,
            };
            let value =
                if nth == 0 && is_wrong { "not what was asked for".to_owned() } else { value(metric, seed, line) };
            json!({
                "identifier": metric.identifier,
                "value": value,
                "confidence": (50 + pick(mix(seed), 51)) as f64 / 100.0,
                "reasoning": reasoning,
            })
        })
        .collect();
    let mut answer = Map::new();
    answer.insert("summary".to_owned(), json!(format!("The call says: {}", first_words(&lines.join(" "), 16))));
    answer.insert("dispositionMetrics".to_owned(), Value::Array(metrics));
    Value::Object(answer)
}

fn value(metric: &WireMetric, seed: u64, line: &str) -> String {
    match metric.kind {
        MetricType::Boolean => (pick(seed, 2) == 0).to_string(),
        MetricType::Enum => metric.choices[pick(seed, metric.choices.len() as u64)].clone(),
        MetricType::Integer => pick(seed, 100).to_string(),
        MetricType::String => first_words(line, 6),
        MetricType::Summary => format!("It is said: {}", first_words(line, 12)),
    }
}

fn first_words(text: &str, most: usize) -> String {
    text.split_whitespace().take(most).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::{Analysis, Chat, ChatEndpoint, ChatLine, Metric};

    fn asked() -> Chat {
        let metric = |name: &str, kind, choices: &[&str]| Metric {
            name: name.to_owned(),
            prompt: "What?".to_owned(),
            kind,
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
        };
        let kinds = [("refund", MetricType::Boolean), ("dollars", MetricType::Integer), ("who", MetricType::String)];
        let mut metrics: Vec<Metric> = kinds.map(|(name, kind)| metric(name, kind, &[])).to_vec();
        metrics.push(metric("reason", MetricType::Enum, &["billing", "other"]));
        let bare = json!({"options": {"model": "pca"}, "repairs": 0});
        Chat { endpoint: ChatEndpoint::Pca, metrics, ..serde_json::from_value(bare).unwrap() }
    }

    fn answer(transcript: &str) -> Value {
        let body = asked().body(&ChatLine::default(), transcript, &[]);
        analysis_of(&AnalysisRequest::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn an_analysis_fits_its_metrics_and_is_the_same_each_time() {
        let mut all = std::collections::HashSet::new();
        for nth in 0..30 {
            let transcript = format!("Agent: Hello, line {nth}.\nCustomer: My bill of {nth} dollars is wrong.");
            let made = answer(&transcript);
            assert_eq!(made, answer(&transcript));
            let read = Analysis::of(&asked().metrics, &made);
            assert_eq!(read.faults, [""; 0], "{made}");
            assert!(transcript.contains(read.cells["reason.reasoning"].as_str().unwrap()));
            all.insert(made.to_string());
        }
        assert!(all.len() > 20);
    }

    #[test]
    fn markers_say_what_is_wrong_with_an_analysis() {
        let faults = |marker: &str| Analysis::of(&asked().metrics, &answer(&format!("Hi. [[{marker}]]"))).faults;
        assert_eq!(faults("wrong-type"), ["`refund` is neither true nor false"]);
        assert_eq!(faults("empty").len(), 4);
        assert_eq!(faults("invented-quote").len(), 0);
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        let why = |body: Value| AnalysisRequest::parse(body.to_string().as_bytes()).map(|_| ()).unwrap_err();
        assert!(why(json!([])).contains("JSON object"));
        assert!(why(json!({"transcript": " "})).contains("'transcript' is required"));
        assert!(why(json!({"transcript": "a", "dispositionMetrics": {}})).contains("must be a list"));
        let of = |metric: Value| why(json!({"transcript": "a", "dispositionMetrics": [metric]}));
        assert!(of(json!({})).contains("'identifier'"));
        assert!(of(json!({"identifier": "a"})).contains("'dispositionMetricPrompt'"));
        let typed =
            |kind: &str| json!({"identifier": "a", "dispositionMetricPrompt": "b", "dispositionMetricType": kind});
        assert!(of(typed("boolean")).contains("is not a type"), "types are in capitals");
        assert!(of(typed("ENUM")).contains("no 'choices'"));
        assert!(AnalysisRequest::parse(br#"{"transcript": "a"}"#).is_ok(), "metrics may be left away");
        assert!(why(json!({"transcript": "a".repeat(4 * CONTEXT)})).contains("the context has"));
    }
}
