//! Where the bought audio of a ledger is kept: in a folder beside it, in one that machines share, or in a store of objects.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use crate::domain::environment::Environment;
use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{
    Place, Store, StoreError,
    cache::folder::ClipFolder,
    cache::objects::{ClipBucket, ClipObjects},
};

/// What connects to a store of objects at an address; the error is the end of a sentence about it.
type Connect = dyn Fn(&str) -> Result<Arc<dyn ClipObjects>, String> + Send + Sync;

/// Where bought audio is to be kept, as the user says it.
#[derive(Clone)]
pub struct SpoolSetting {
    /// The address: that of a store of objects, or the absolute path of a folder that machines share. `None`: what the ledger
    /// says, else beside it.
    pub address: Option<String>,
    /// Where the calls of the ledger go. Audio of the stand-in is kept apart.
    pub environment: Environment,
    connect: Arc<Connect>,
}

impl SpoolSetting {
    /// The setting, and what connects to a store of objects.
    #[must_use]
    pub fn new(
        address: Option<String>,
        environment: Environment,
        connect: impl Fn(&str) -> Result<Arc<dyn ClipObjects>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { address, environment, connect: Arc::new(connect) }
    }

    /// The same, and whatever place the ledger says.
    #[must_use]
    pub fn of_ledger(&self) -> Self {
        let mut setting = self.clone();
        setting.address = None;
        setting
    }

    /// A folder that machines share.
    #[must_use]
    pub fn folder(path: PathBuf) -> Self {
        Self { address: Some(path.display().to_string()), ..Self::default() }
    }
}

impl Default for SpoolSetting {
    /// Whatever the ledger says, without stores of objects.
    fn default() -> Self {
        Self::new(None, Environment::Live, |_| Err("cannot be reached: nothing here connects to it".to_owned()))
    }
}

impl fmt::Debug for SpoolSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolSetting").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether an address is one of a store of objects. All others are paths.
#[must_use]
pub fn is_of_objects(address: &str) -> bool {
    address.contains("://")
}

/// The folder of clips in a spool.
pub(in crate::store) fn clips_within(spool: &Path) -> ClipFolder {
    ClipFolder::new(spool.join("speech"))
}

/// The folder of clips in a spool that wait for a store of objects.
pub(in crate::store) fn unsent_within(spool: &Path) -> ClipFolder {
    ClipFolder::new(spool.join("unsent"))
}

/// The folder of the clips of the ledger with this id, in a folder that machines share.
pub(in crate::store) fn shared_folder(address: &str, id: &str, environment: Environment) -> ClipFolder {
    ClipFolder::new(PathBuf::from(address).join(id).join(environment.to_string()))
}

/// The place of a ledger's clips, once it is known.
#[derive(Debug)]
pub(in crate::store) struct ClipHome {
    setting: SpoolSetting,
    known: OnceLock<Home>,
}

#[derive(Debug, Clone)]
pub(in crate::store) enum Home {
    Folder {
        folder: ClipFolder,
        /// `None`: it is beside the ledger.
        address: Option<String>,
    },
    Objects {
        bucket: ClipBucket,
        address: String,
    },
}

impl Home {
    /// The address that the ledger has.
    fn address(&self) -> Option<&str> {
        match self {
            Self::Folder { address, .. } => address.as_deref(),
            Self::Objects { address, .. } => Some(address),
        }
    }

    /// The place as messages name it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Folder { folder, .. } => folder.root().display().to_string(),
            Self::Objects { address, .. } => address.clone(),
        }
    }
}

impl ClipHome {
    pub(in crate::store) fn new(setting: SpoolSetting) -> Self {
        Self { setting, known: OnceLock::new() }
    }
}

/// What a process that begins to work says about the place of clips.
#[derive(Debug, Clone)]
pub(in crate::store) struct HomeClaim {
    ledger: String,
    /// The folder beside the ledger.
    beside: String,
    /// What its user says.
    asked: Option<String>,
    /// Where it keeps clips, if that is known and not beside the ledger.
    mine: Option<String>,
    is_file: bool,
}

impl HomeClaim {
    /// Makes the user's place the ledger's, if the ledger has none. Refuses a process that keeps clips in another one.
    pub(in crate::store) async fn make(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let said: Option<String> = query_scalar("SELECT spool FROM ledger").fetch_one(&mut *conn).await?;
        match (said, &self.mine) {
            (None, Some(mine)) => {
                // A process that works without a place of its own keeps clips beside a file, and none on a server.
                let is_alone: bool =
                    query_scalar("SELECT NOT EXISTS (SELECT 1 FROM processes)").fetch_one(&mut *conn).await?;
                if self.is_file && !is_alone {
                    return Err(self.refused(&self.beside));
                }
                query("UPDATE ledger SET spool = $1").bind(mine).execute(conn).await?;
                Ok(())
            }
            (Some(said), Some(mine)) if said != *mine => Err(self.refused(&said)),
            (Some(said), None) if self.is_file => Err(self.refused(&said)),
            _ => Ok(()),
        }
    }

    fn refused(&self, has: &str) -> StoreError {
        let asked = self.asked.as_ref().or(self.mine.as_ref()).unwrap_or(&self.beside);
        StoreError::OtherSpool { ledger: self.ledger.clone(), has: has.to_owned(), asked: asked.clone() }
    }
}

impl Store {
    /// Finds out where clips are kept, and refuses another place than the ledger's. For a ledger that was just opened.
    pub(in crate::store) async fn find_home(&self) -> Result<(), StoreError> {
        let said: Option<String> = query_scalar("SELECT spool FROM ledger").fetch_one(&self.read).await?;
        let asked = self.home.setting.address.as_deref();
        let beside = said.is_none() && asked.is_some() && self.file().is_some() && self.has_bought_clips().await?;
        match (said.as_deref(), asked) {
            (Some(said), Some(asked)) if said != asked => Err(self.home_claim().refused(said)),
            (None, Some(_)) if beside => {
                let claim = self.home_claim();
                Err(claim.refused(&claim.beside))
            }
            (Some(address), _) | (None, Some(address)) => self.settle_home(address).map(drop),
            (None, None) => Ok(()),
        }
    }

    /// What this process says about the place of clips when it begins to work.
    pub(in crate::store) fn home_claim(&self) -> HomeClaim {
        HomeClaim {
            ledger: self.address().to_owned(),
            beside: self.local_clips().root().display().to_string(),
            asked: self.home.setting.address.clone(),
            mine: self.home.known.get().and_then(|home| home.address().map(str::to_owned)),
            is_file: self.file().is_some(),
        }
    }

    /// Makes this the place of the ledger's clips in this process.
    fn settle_home(&self, address: &str) -> Result<&Home, StoreError> {
        let home = self.home_at(address, self.id(), self.home.setting.environment)?;
        Ok(self.home.known.get_or_init(|| home))
    }

    /// The place at an address for the clips of the ledger with this id.
    pub(super) fn home_at(&self, address: &str, id: &str, environment: Environment) -> Result<Home, StoreError> {
        if is_of_objects(address) {
            let connected = (self.home.setting.connect)(address);
            let objects = connected.map_err(|why| StoreError::BadSpool { address: address.to_owned(), why })?;
            let bucket = ClipBucket::new(objects, format!("{id}/{environment}/"));
            return Ok(Home::Objects { bucket, address: address.to_owned() });
        }
        Ok(Home::Folder { folder: shared_folder(address, id, environment), address: Some(address.to_owned()) })
    }

    /// The place of clips that the user names.
    pub(super) fn asked_home(&self) -> Option<&str> {
        self.home.setting.address.as_deref()
    }

    /// The place beside the ledger; `None` for a server.
    pub(super) fn home_beside(&self) -> Option<Home> {
        self.file().map(|_| Home::Folder { folder: self.local_clips(), address: None })
    }

    /// Where clips are kept.
    pub(in crate::store) async fn clip_home(&self) -> Result<&Home, StoreError> {
        if let Some(home) = self.home.known.get() {
            return Ok(home);
        }
        match &*self.place {
            Place::File { .. } => {
                let beside = || Home::Folder { folder: self.local_clips(), address: None };
                Ok(self.home.known.get_or_init(beside))
            }
            Place::Server { shown, .. } => {
                // Another process may have said it since.
                let said: Option<String> = query_scalar("SELECT spool FROM ledger").fetch_one(&self.read).await?;
                match said {
                    Some(address) => self.settle_home(&address),
                    None => Err(StoreError::NoSharedSpool { ledger: shown.clone() }),
                }
            }
        }
    }

    /// The folder of clips beside the ledger.
    fn local_clips(&self) -> ClipFolder {
        clips_within(&self.spool())
    }

    /// The clips that came while the store of objects could not be reached.
    pub(in crate::store) fn unsent_clips(&self) -> ClipFolder {
        unsent_within(&self.spool())
    }

    /// The folder that keeps clips, if it is known that a folder does.
    #[must_use]
    pub fn clip_folder(&self) -> Option<ClipFolder> {
        match (self.home.known.get(), &*self.place) {
            (Some(Home::Folder { folder, .. }), _) => Some(folder.clone()),
            (None, Place::File { .. }) => Some(self.local_clips()),
            (Some(Home::Objects { .. }), _) | (None, Place::Server { .. }) => None,
        }
    }
}
