//! `[serve]`: the admin address of a service, and the schedules that it runs.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use toml::de::DeValue;

use crate::definition::{
    fields::fields,
    walk::{Section, TomlWalk, Wrong},
};

fields! {
    /// The settings of `wavebatch serve`.
    pub(super) SERVE = "serve" {
        /// The address of `/healthz`, `/readyz` and `/metrics`; or `off`.
        "admin_listen": "a string" (= "\"127.0.0.1:9464\"");
        /// The directories whose definitions run by their schedules: one, or a list. They are relative to this file.
        "definitions": "a directory or several" (= "[]");
    }
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// This address. Port 0 means any free port.
    On(SocketAddr),
    /// None.
    Off,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(address) => write!(f, "{address}"),
            Self::Off => f.write_str("off"),
        }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::On)
                .map_err(|_| format!("`{text}` is not an address and a port, like 127.0.0.1:8080, nor \"off\"")),
        }
    }
}

/// The settings of a service besides its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// The address of health checks and metrics.
    pub admin_listen: Listen,
    /// The directories whose definitions are scheduled.
    pub definitions: Vec<PathBuf>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { admin_listen: Listen::On((Ipv4Addr::LOCALHOST, 9464).into()), definitions: Vec::new() }
    }
}

impl ServeConfig {
    /// The same with relative paths taken from `dir`.
    pub(super) fn relative_to(mut self, dir: &Path) -> Self {
        self.definitions.iter_mut().for_each(|path| *path = dir.join(&path));
        self
    }
}

pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> ServeConfig {
    let default = ServeConfig::default();
    let admin_listen = walk.text(&mut section, "admin_listen", str::parse);
    let definitions = walk.take(&mut section, "definitions", |value| match value {
        DeValue::String(one) => Ok(vec![PathBuf::from(&**one)]),
        DeValue::Array(all) => all
            .iter()
            .map(|one| match one.get_ref() {
                DeValue::String(one) => Ok(PathBuf::from(&**one)),
                _ => Err(Wrong::Type("a directory or several")),
            })
            .collect(),
        _ => Err(Wrong::Type("a directory or several")),
    });
    walk.close(section);
    ServeConfig {
        admin_listen: admin_listen.unwrap_or(default.admin_listen),
        definitions: definitions.unwrap_or_default(),
    }
}
