//! `~` at the beginning of a path, which no shell has replaced.

use std::path::{Path, PathBuf};

/// The path with the home directory for a leading `~`.
///
/// # Errors
/// The home directory is not known, or is that of another user.
pub fn expand(path: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    match (rest.strip_prefix('/'), home) {
        (None, _) if !rest.is_empty() => {
            Err(format!("`{path}` names another user's home, which is not looked up; write the whole path"))
        }
        (_, None) => Err(format!("`{path}` needs HOME, and it is not set; write the whole path")),
        (rest, Some(home)) => Ok(home.join(rest.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory_only_at_the_beginning() {
        let home = Some(Path::new("/home/ann"));
        let of = |path| expand(path, home).map(|path| path.display().to_string());
        assert_eq!(of("~/a/b.db"), Ok("/home/ann/a/b.db".into()));
        assert_eq!(of("~"), Ok("/home/ann/".into()));
        assert_eq!((of("a/~/b"), of("/~"), of("")), (Ok("a/~/b".into()), Ok("/~".into()), Ok(String::new())));
        assert!(of("~bob/a").unwrap_err().contains("write the whole path"));
        assert!(expand("~/a", None).unwrap_err().contains("HOME"));
    }
}
