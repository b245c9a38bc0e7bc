//! What is to be cloned: the flags of one clone, or the lines of a CSV.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    definition::{Fault, Faults},
    domain::{
        options::nearest,
        synthesis_options::{TtsLanguage, TtsModel},
    },
    waves::{hyphened, voice_language},
};

/// The columns of a manifest.
const COLUMNS: [&str; 7] = ["name", "sample", "language", "accent", "tags", "model", "description"];
/// The longest name, in letters.
const LONGEST_NAME: usize = 500;

/// A voice that is to be cloned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloneRequest {
    /// Its name.
    pub name: String,
    /// The files of its sample: several are joined.
    pub samples: Vec<PathBuf>,
    /// The language of the sample.
    pub language: Option<String>,
    /// Its accent.
    pub accent: Option<String>,
    /// Tags, with commas between them.
    pub tags: Option<String>,
    /// The model that it is to speak by.
    pub model: Option<String>,
    /// What it is, in words.
    pub description: Option<String>,
    /// Its line in the manifest.
    pub line: Option<u64>,
}

impl CloneRequest {
    /// A request with its fields as the API writes them.
    ///
    /// # Errors
    /// What is wrong, with the name of the field.
    pub fn checked(mut self) -> Result<Self, Vec<(&'static str, String)>> {
        let mut faults = Vec::new();
        self.name = self.name.trim().to_owned();
        match self.name.chars().count() {
            0 => faults.push(("name", "is empty".to_owned())),
            1..=LONGEST_NAME if self.name.contains(char::is_control) => {
                faults.push(("name", "has a line break or a control character".to_owned()));
            }
            1..=LONGEST_NAME => {}
            letters => faults.push(("name", format!("has {letters} letters, and {LONGEST_NAME} are the most"))),
        }
        if self.samples.is_empty() {
            faults.push(("sample", "is empty".to_owned()));
        }
        if let Some(text) = &self.language {
            match language(text) {
                Ok(code) => self.language = Some(code),
                Err(why) => faults.push(("language", why)),
            }
        }
        if let Some(text) = &self.model {
            match model(text) {
                Ok(id) => self.model = Some(id),
                Err(why) => faults.push(("model", why)),
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// The fields of the request beside the name and the sample.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("language", &self.language),
            ("accent", &self.accent),
            ("tags", &self.tags),
            ("model", &self.model),
            ("description", &self.description),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// The code of a language, from its code or its English name. One that is in no list is passed on.
fn language(text: &str) -> Result<String, String> {
    if let Ok(known) = voice_language(text) {
        return Ok(known.to_string());
    }
    match text.trim().parse::<TtsLanguage>() {
        Ok(TtsLanguage::Auto) => Err("a sample has one language; `auto` is for speech".to_owned()),
        Ok(other) => Ok(other.to_string()),
        Err(why) => Err(why.to_string()),
    }
}

/// A model as the API of clones writes it. One that is in no list is passed on.
fn model(text: &str) -> Result<String, String> {
    let known = TtsModel::ALL.iter().find(|known| hyphened(known.as_str()) == hyphened(text.trim()));
    match known {
        Some(known) => Ok(hyphened(known.as_str())),
        None => text.trim().parse::<TtsModel>().map(|other| other.to_string()).map_err(|why| why.to_string()),
    }
}

/// Reads a CSV with the columns `name` and `sample`, and others where wanted. Paths are relative to the file. Several files of one
/// sample have `;` between them.
///
/// # Errors
/// All that is wrong with the file and its lines.
pub fn read_clones(path: &Path) -> Result<Vec<CloneRequest>, Faults> {
    let shown = path.display().to_string();
    let of_file = |message: String| Faults::from(Fault::of_file(shown.clone(), message));
    let text = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => of_file("there is no such file".to_owned()),
        _ => of_file(format!("cannot be read: {error}")),
    })?;
    let text = String::from_utf8(text).map_err(|_| of_file("is not UTF-8".to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let delimiter = match text.lines().next() {
        Some(head) if head.contains(';') && !head.contains(',') => b';',
        Some(head) if head.contains('\t') && !head.contains(',') => b'\t',
        _ => b',',
    };
    let mut reader = ::csv::ReaderBuilder::new().delimiter(delimiter).flexible(false).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(|name| name.trim().to_lowercase()).collect(),
        Err(error) => return Err(of_file(error.to_string())),
    };
    let mut faults = Faults::default();
    for name in ["name", "sample"] {
        if !header.iter().any(|own| own == name) {
            faults.push(Fault::of_file(shown.clone(), format!("has no column `{name}`")));
        }
    }
    for (nth, name) in header.iter().enumerate() {
        if header[..nth].contains(name) {
            faults.push(Fault::of_file(shown.clone(), format!("has the column `{name}` twice")));
        }
        // Columns of one's own are no fault; a slip is.
        if let Some(near) = nearest(name, COLUMNS.iter().copied()).filter(|near| near != name) {
            faults.push(Fault::of_file(shown.clone(), format!("has the column `{name}`; did you mean `{near}`?")));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let (mut requests, mut seen) = (Vec::new(), BTreeMap::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                faults.push(Fault::of_file(shown.clone(), error.to_string()));
                break;
            }
        };
        let line = record.position().map_or(0, ::csv::Position::line);
        let cell = |name: &str| {
            let at = header.iter().position(|own| own == name)?;
            record.get(at).map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        let samples = cell("sample").unwrap_or_default();
        let request = CloneRequest {
            name: cell("name").unwrap_or_default(),
            samples: samples
                .split(';')
                .map(str::trim)
                .filter(|one| !one.is_empty())
                .map(|one| base.join(one))
                .collect(),
            language: cell("language"),
            accent: cell("accent"),
            tags: cell("tags"),
            model: cell("model"),
            description: cell("description"),
            line: Some(line),
        };
        match request.checked() {
            Ok(request) => match seen.insert(request.name.clone(), line) {
                Some(first) => {
                    let message = format!("`{}` is also the name of line {first}", request.name);
                    faults.push(Fault::of_line(&shown, line, Some("name"), message));
                }
                None => requests.push(request),
            },
            Err(wrong) => {
                wrong.into_iter().for_each(|(at, why)| faults.push(Fault::of_line(&shown, line, Some(at), why)));
            }
        }
    }
    if faults.is_empty() && requests.is_empty() {
        faults.push(Fault::of_file(shown, "has no lines"));
    }
    if faults.is_empty() { Ok(requests) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<CloneRequest>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("voices.csv");
        fs::write(&path, text).unwrap();
        let found = read_clones(&path).map_err(|faults| faults.to_string());
        let base = format!("{}/", dir.path().display());
        found.map_err(|faults| faults.replace(&base, "")).map(|mut all| {
            let strip = |path: &mut PathBuf| *path = path.strip_prefix(dir.path()).unwrap().to_owned();
            all.iter_mut().for_each(|one| one.samples.iter_mut().for_each(strip));
            all
        })
    }

    #[test]
    fn lines_are_requests() {
        let all =
            read("\u{feff}Name;sample;Language;model;own\n Ann ;a.wav;Hindi;lightning_v3.1_pro;x\nBen;b.mp3;;;\n");
        let all = all.unwrap();
        let ann = CloneRequest {
            name: "Ann".into(),
            samples: vec!["a.wav".into()],
            language: Some("hi".into()),
            model: Some("lightning-v3.1-pro".into()),
            line: Some(2),
            ..CloneRequest::default()
        };
        assert_eq!((&all[0], all.len()), (&ann, 2));
        assert_eq!(ann.fields(), [("language", "hi".to_owned()), ("model", "lightning-v3.1-pro".to_owned())]);
        let joined = read("name,sample\nAnn,a.wav; b.wav\n").unwrap();
        assert_eq!(joined[0].samples, ["a.wav", "b.wav"].map(PathBuf::from));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_its_line() {
        let faults = read("name,sample,language\nAnn,a.wav,\n,b.wav,auto\nAnn,,en\nAnn,c.wav,en\n").unwrap_err();
        for words in [
            "voices.csv:3: column `name`: is empty",
            "voices.csv:3: column `language`: a sample has one language",
            "voices.csv:4: column `sample`: is empty",
            "voices.csv:5: column `name`: `Ann` is also the name of line 2",
        ] {
            assert!(faults.contains(words), "{words}\n{faults}");
        }
        assert!(read("nam,sample\na,b\n").unwrap_err().contains("did you mean `name`?"));
        assert!(read("sample\nb\n").unwrap_err().contains("has no column `name`"));
        assert!(read("name,sample\n").unwrap_err().contains("has no lines"));
        assert!(read("name,sample\na,b,c\n").is_err());
        assert!(read_clones(Path::new("gone.csv")).unwrap_err().to_string().contains("no such file"));
        let long = CloneRequest { name: "x".repeat(501), ..CloneRequest::default() }.checked().unwrap_err();
        assert_eq!(long[0], ("name", "has 501 letters, and 500 are the most".to_owned()));
    }
}
