//! Definitions that are run together: one takes the lines that another one finishes.

use super::{error::AppError, session::Session};
use crate::{
    definition::{Definition, Fault, Faults, Origin},
    runner::intake::{CopyPlace, IntakeError, PlannedBatch, Submission, Upstreams, planned},
    store::{BatchRow, Store, StoreError},
};

/// Definitions in the order in which they can be submitted: each after the one that feeds it.
///
/// # Errors
/// Two of them make the same batch, or some feed each other in a circle.
pub fn in_order(definitions: Vec<Definition>) -> Result<Vec<Definition>, Faults> {
    for (nth, one) in definitions.iter().enumerate() {
        if definitions[..nth].iter().any(|other| other.batch == one.batch) {
            let message = format!("the batch `{}` is made by two of these definitions", one.batch);
            return Err(Fault::of_file("", message).into());
        }
    }
    let (mut ordered, mut left): (Vec<Definition>, Vec<Definition>) = (Vec::new(), definitions);
    while !left.is_empty() {
        let waits = |one: &Definition| one.fed_by().is_some_and(|by| left.iter().any(|other| other.batch == *by));
        let (waiting, ready): (Vec<bool>, usize) = {
            let waiting: Vec<bool> = left.iter().map(waits).collect();
            let ready = waiting.iter().filter(|waits| !**waits).count();
            (waiting, ready)
        };
        if ready == 0 {
            let names: Vec<String> = left.iter().map(|one| format!("`{}`", one.batch)).collect();
            let message =
                format!("{} feed each other in a circle; one of them needs a manifest of its own", names.join(" and "));
            return Err(Fault::of_file("", message).into());
        }
        let mut waiting = waiting.into_iter();
        let (after, now): (Vec<_>, Vec<_>) = left.into_iter().partition(|_| waiting.next().unwrap_or(false));
        ordered.extend(now);
        left = after;
    }
    Ok(ordered)
}

impl Session {
    /// Looks for faults of definitions that are to be submitted one after the other, before the first of them is.
    ///
    /// # Errors
    /// Faults of the definitions and their manifests.
    pub async fn look_ahead(&self, definitions: &[Definition]) -> Result<(), AppError> {
        let looking = async {
            let (spool, mut before) = (self.store.spool(), Vec::<PlannedBatch>::new());
            for definition in definitions {
                let upstreams = Upstreams {
                    store: Some(&self.store),
                    tasks: self.settings.tasks.intakes(),
                    environment: self.environment(),
                    planned: &before,
                };
                let place = CopyPlace { dir: &spool, fetcher: &self.fetcher, upstreams };
                let next = Box::pin(planned(definition, place)).await?;
                before.push(next);
            }
            Ok::<_, IntakeError>(())
        };
        Ok(self.unless_interrupted(looking).await??)
    }
}

/// A batch of a chain, and the place of the one that feeds it, which is before it.
pub type ChainBatch = (BatchRow, Option<usize>);

/// The batches of a chain: these and all that feed them, each after the one that feeds it. One feeds all others.
///
/// # Errors
/// No batch feeds them, or they do not begin with the same one; the ledger cannot be read.
pub async fn chain_of(store: &Store, batches: Vec<BatchRow>) -> Result<Vec<ChainBatch>, ChainError> {
    let mut chain: Vec<ChainBatch> = Vec::new();
    for batch in batches {
        let mut line = vec![batch];
        while let Some(by) = line.last().and_then(|batch| batch.fed_by) {
            line.push(store.batch_by_id(by).await?);
        }
        let mut above = None;
        for batch in line.into_iter().rev() {
            above = Some(match chain.iter().position(|(there, _)| there.id == batch.id) {
                Some(there) => there,
                None => {
                    if let (None, Some((first, _))) = (above, chain.first()) {
                        return Err(ChainError::Apart(first.name.clone(), batch.name));
                    }
                    chain.push((batch, above));
                    chain.len() - 1
                }
            });
        }
    }
    match chain.as_slice() {
        [(only, _)] => {
            let mut fed = Vec::new();
            for id in store.fed_by(only.id).await? {
                fed.push(store.batch_by_id(id).await?.name);
            }
            Err(ChainError::Alone { batch: only.name.clone(), fed })
        }
        _ => Ok(chain),
    }
}

/// Why batches are no chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The batch takes its lines from no other.
    #[error("`{batch}` takes its lines from no other batch")]
    Alone {
        /// Its name.
        batch: String,
        /// The batches that take theirs from it.
        fed: Vec<String>,
    },
    /// Two batches begin with different ones.
    #[error("the lines of `{0}` and of `{1}` are not the same")]
    Apart(String, String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a definition take its lines from the batch that another one really has, which may be one of an older day.
pub fn follow(definition: &mut Definition, other: &Definition, done: &Submission) {
    if definition.fed_by() == Some(&other.batch)
        && let Ok(name) = done.name.parse()
    {
        definition.origin = Origin::Batch(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{definition::Overrides, tasks::Registry};

    fn chain(of: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.csv"), "key,source\n").unwrap();
        let load = |(name, manifest): &(&str, &str)| {
            let file = dir.path().join(format!("{name}.toml"));
            let text = format!(
                "task = \"transcribe\"\nmanifest = \"{manifest}\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n"
            );
            std::fs::write(&file, text).unwrap();
            Definition::load(&file, Registry::built_in().definitions(), &Overrides::default()).unwrap()
        };
        let ordered = in_order(of.iter().map(load).collect()).map_err(|faults| faults.to_string())?;
        Ok(ordered.into_iter().map(|one| one.name).collect())
    }

    #[test]
    fn each_comes_after_the_one_that_feeds_it() {
        let all = [("c", "batch:b"), ("a", "m.csv"), ("b", "batch:a"), ("d", "batch:elsewhere")];
        assert_eq!(chain(&all).unwrap(), ["a", "d", "b", "c"]);
    }

    #[test]
    fn a_circle_and_a_batch_of_two_are_refused() {
        let message = chain(&[("a", "batch:b"), ("b", "batch:a"), ("c", "m.csv")]).unwrap_err();
        assert!(message.contains("`a` and `b` feed each other in a circle"), "{message}");
        let message = chain(&[("a", "m.csv"), ("a", "m.csv")]).unwrap_err();
        assert!(message.contains("`a` is made by two of these definitions"), "{message}");
    }
}
