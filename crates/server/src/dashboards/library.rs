//! The directory of dashboards, watched.
//!
//! A thread looks at the directory twice a second: names, lengths and times of change, and reads the files for
//! which one of them moved. Polling a handful of files costs microseconds, works on every file system and in
//! containers, and does not care whether an editor writes in place or renames a new file over the old one; a
//! file that is gone for one look only was being replaced.
//!
//! States of an entry: good (dashboard, no mistake), bad edit (the last good dashboard and the mistake), never
//! good (the mistake alone). Every change of state raises the entry's revision.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    DASHBOARDS_MAX, Dashboard, FILE_BYTES_MAX, Mistake, PanelQuery, Part, parse, parse::did_you_mean,
};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A file is forgotten when so many looks in a row do not find it.
const MISSED_LOOKS: u32 = 2;

/// A dashboard as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The file's name without `.toml`.
    pub name: String,
    /// The last good state; `None` if there never was one.
    pub dashboard: Option<Arc<Dashboard>>,
    /// What is wrong with the file now.
    pub mistake: Option<Mistake>,
    /// Rises with every change while the process runs.
    pub revision: u64,
}

impl Entry {
    /// `{name, title, range_s, variables, panels, revision, error}`, as the page gets it.
    pub fn to_json(&self) -> Value {
        let mut json = self.definition();
        json["error"] = self.error().unwrap_or(Value::Null);
        json
    }

    /// `{name, title, range_s, variables, panels, revision}`; without panels if there never was a good state.
    pub fn definition(&self) -> Value {
        let empty =
            json!({"name": self.name, "title": self.name, "range_s": 300, "variables": [], "panels": []});
        let good = self.dashboard.as_ref().and_then(|dashboard| serde_json::to_value(&**dashboard).ok());
        let mut json = good.unwrap_or(empty);
        json["revision"] = self.revision.into();
        json
    }

    /// `{file, line, column, message, hint}`; `None` if the file is good.
    pub fn error(&self) -> Option<Value> {
        self.mistake.as_ref().and_then(|mistake| serde_json::to_value(mistake).ok())
    }

    /// `{name, title, panels, error}`, for lists; `panels` is their number.
    pub fn summary(&self) -> Value {
        let title = self.dashboard.as_ref().map_or(self.name.as_str(), |dashboard| &dashboard.title);
        let panels = self.dashboard.as_ref().map_or(0, |dashboard| dashboard.panels.len());
        json!({"name": self.name, "title": title, "panels": panels, "error": self.error()})
    }
}

/// A dashboard or panel that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct NotFound {
    /// The fact.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

/// All dashboards of a directory. Cheap to clone; the watch ends with the last clone.
#[derive(Debug, Clone)]
pub struct Library(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// A std lock: held to swap or clone Arcs, never while files are read.
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    /// What the last look saw, by name; locked for the whole of a look, so that two do not race.
    seen: Mutex<BTreeMap<String, Seen>>,
    changed: watch::Sender<u64>,
}

/// A file as the last look saw it.
#[derive(Debug)]
struct Seen {
    stamp: Option<(u64, SystemTime)>,
    missed: u32,
}

impl Library {
    /// Makes `dir` if there is none, reads its dashboards and begins to watch it.
    ///
    /// # Errors
    /// The directory cannot be made or read. What is wrong with a single file stands in its [`Entry`].
    pub fn open(dir: &Path) -> io::Result<Library> {
        fs::create_dir_all(dir)?;
        fs::read_dir(dir)?;
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            entries: RwLock::default(),
            seen: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        inner.look();
        let watched = Arc::downgrade(&inner);
        thread::Builder::new().name("dashboards".to_owned()).spawn(move || watch_directory(&watched))?;
        Ok(Library(inner))
    }

    /// Looks at the directory now.
    pub fn refresh(&self) {
        self.0.look();
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// All dashboards by name.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        self.0.entries().values().cloned().collect()
    }

    /// One dashboard.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn get(&self, name: &str) -> Result<Arc<Entry>, NotFound> {
        let entries = self.0.entries();
        entries.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = entries.keys().map(String::as_str).collect();
            let hint = did_you_mean(name, &names)
                .unwrap_or_else(|| format!("put {name}.toml into {}", self.0.dir.display()));
            NotFound { message: format!("there is no dashboard {name:?}"), hint }
        })
    }

    /// A number that moves whenever any dashboard does.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// A panel's query from `{dashboard}/{panel}`, `{dashboard}/{panel}/compare` or `…/spark`.
    ///
    /// # Errors
    /// There is no such dashboard, panel or part.
    pub fn resolve(&self, path: &str) -> Result<PanelQuery, NotFound> {
        let not_a_path = || NotFound {
            message: format!("{path:?} names no panel"),
            hint: "write DASHBOARD/PANEL, DASHBOARD/PANEL/compare or DASHBOARD/PANEL/spark".to_owned(),
        };
        let mut words = path.split('/');
        let (Some(name), Some(id)) = (words.next(), words.next()) else { return Err(not_a_path()) };
        let part = match words.next() {
            None => Part::Main,
            Some(word) => Part::parse(word).ok_or_else(not_a_path)?,
        };
        if words.next().is_some() { Err(not_a_path()) } else { self.panel(name, id, part) }
    }

    /// A panel's query.
    ///
    /// # Errors
    /// There is no such dashboard, panel or part.
    pub fn panel(&self, name: &str, id: &str, part: Part) -> Result<PanelQuery, NotFound> {
        let entry = self.get(name)?;
        let Some(dashboard) = &entry.dashboard else {
            let mistake = entry.mistake.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = format!("the dashboard {name:?} cannot be read");
            return Err(NotFound { message, hint: format!("mend {mistake}") });
        };
        let panel = dashboard.panels.iter().find(|panel| panel.id == id).ok_or_else(|| {
            let ids: Vec<&str> = dashboard.panels.iter().map(|panel| panel.id.as_str()).collect();
            let hint = did_you_mean(id, &ids).unwrap_or_else(|| format!("it has {}", ids.join(", ")));
            NotFound { message: format!("the dashboard {name:?} has no panel {id:?}"), hint }
        })?;
        let lacks = |what: &str, hint: &str| NotFound {
            message: format!("the panel {name}/{id} has no {what}"),
            hint: hint.to_owned(),
        };
        let text = match part {
            Part::Main if panel.query.is_empty() => return Err(lacks("query", "it shows its text")),
            Part::Main => &panel.query,
            Part::Compare if !panel.compare => return Err(lacks("compare", "add compare = true to it")),
            Part::Compare => &panel.query,
            Part::Spark => {
                panel.spark.as_ref().ok_or_else(|| lacks("spark", "add spark = '''SELECT …''' to it"))?
            }
        };
        let variables: Vec<&str> = dashboard.variables.iter().map(|v| v.name.as_str()).collect();
        Ok(PanelQuery::new(part, text, dashboard.range_s, &variables))
    }
}

fn watch_directory(watched: &Weak<Inner>) {
    loop {
        thread::sleep(LOOK_INTERVAL);
        match watched.upgrade() {
            Some(inner) => inner.look(),
            None => return,
        }
    }
}

impl Inner {
    // A panic while the lock is held would have been inside of BTreeMap; the map is whole either way.
    fn entries(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(files) = fs::read_dir(&self.dir) else { return };
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in files.flatten().map(|file| file.path()) {
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            if let Some(name) = stem.filter(|name| is_toml && !name.starts_with('.')) {
                found.insert(name, path);
            }
        }
        let mut moved = false;
        for (name, path) in found.iter().take(DASHBOARDS_MAX) {
            let metadata = fs::metadata(path).ok();
            let stamp = metadata.and_then(|metadata| Some((metadata.len(), metadata.modified().ok()?)));
            if seen.get(name).is_some_and(|seen| seen.missed == 0 && seen.stamp == stamp && stamp.is_some()) {
                continue;
            }
            seen.insert(name.clone(), Seen { stamp, missed: 0 });
            moved |= self.put(name, read(name, path));
        }
        for (name, seen) in seen.iter_mut().filter(|(name, _)| !found.contains_key(*name)) {
            seen.missed += 1;
            if seen.missed >= MISSED_LOOKS {
                let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
                moved |= entries.remove(name).is_some();
            }
        }
        seen.retain(|_, seen| seen.missed < MISSED_LOOKS);
        if moved {
            self.changed.send_modify(|revision| *revision += 1);
        }
    }

    /// Keeps what was read; true if it differs from what was there.
    fn put(&self, name: &str, read: Result<Dashboard, Mistake>) -> bool {
        let before = self.entries().get(name).cloned();
        let (dashboard, mistake) = match read {
            Ok(dashboard) => (Some(Arc::new(dashboard)), None),
            Err(mistake) => (before.as_ref().and_then(|before| before.dashboard.clone()), Some(mistake)),
        };
        // Starts past every revision that a dashboard of this name had, also one that was gone for a while.
        let revision = *self.changed.borrow() + 1;
        let entry = Entry { name: name.to_owned(), dashboard, mistake, revision };
        let is_same =
            |before: &Arc<Entry>| before.dashboard == entry.dashboard && before.mistake == entry.mistake;
        if before.as_ref().is_some_and(is_same) {
            return false;
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.insert(name.to_owned(), Arc::new(entry));
        true
    }
}

fn read(name: &str, path: &Path) -> Result<Dashboard, Mistake> {
    let file = path.display().to_string();
    let mistake = |message: String, hint: &str| Mistake {
        file: file.clone(),
        line: 1,
        column: 1,
        message,
        hint: hint.to_owned(),
    };
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        let hint = "rename the file: letters, digits, _ and -, then .toml";
        return Err(mistake(format!("{name:?} cannot be a dashboard's name"), hint));
    }
    let unreadable =
        |error: io::Error| mistake(format!("the file cannot be read: {error}"), "look at its rights");
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        let message = format!("the file has {bytes} bytes, at most {FILE_BYTES_MAX} are read");
        return Err(mistake(message, "split the dashboard into two files"));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(&file, name, text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
            let hint = "save the file as UTF-8";
            Err(Mistake { line, ..mistake("the file is not UTF-8 text".to_owned(), hint) })
        }
    }
}
