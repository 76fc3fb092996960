//! `nowcast sql` on a terminal: lines with history and completion, statements until `;`, commands with `\`.
//!
//! Ctrl-C while a query runs closes its connection, and the server ends it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use rustyline::{
    CompletionType, Config, Editor, Helper, completion::Completer, error::ReadlineError,
    highlight::Highlighter, hint::Hinter, history::FileHistory, validate::Validator,
};

use super::{
    script::{Transaction, split},
    show::{Look, show},
    sql::{look, print, texts, took},
    wire::{Unreachable, exec},
};
use crate::cli::{ServerArgs, SqlArgs, SqlFormat};

const HELP: &str = "\
SQL ends with ; and may have several lines. Ctrl-C ends the running query, Ctrl-D leaves.
  \\dt            the tables
  \\d TABLE       a table's columns
  \\x             a line for each cell, or no longer
  \\timing        how long each query takes, or no longer
  \\format NAME   table, csv, json, ndjson or markdown
  \\watch [S]     the last query every S seconds (2), until Ctrl-C
  \\q             leave
";

/// Lines that are remembered.
const HISTORY_LINES: usize = 5_000;

const KEYWORDS: [&str; 62] = [
    "ADD",
    "ALTER",
    "AND",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLUMN",
    "COMMIT",
    "CREATE",
    "CROSS",
    "DEDUP",
    "DELETE",
    "DESC",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXISTS",
    "EXPLAIN",
    "FILL",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INSERT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LATEST",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "ROLLBACK",
    "SAMPLE",
    "SELECT",
    "SET",
    "SHOW",
    "TABLE",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUNCATE",
    "UNION",
    "UPDATE",
    "UPSERT",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
];

/// What Tab completes.
#[derive(Default)]
struct Words {
    /// Tables and columns.
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = &line[..at];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let begin = before
            .rfind(|c| !is_word(c))
            .map_or(0, |other| other + before[other..].chars().next().map_or(1, char::len_utf8));
        Ok((begin, self.matching(&before[begin..])))
    }
}

impl Words {
    fn matching(&self, word: &str) -> Vec<String> {
        if word.is_empty() {
            return Vec::new();
        }
        let lower = word.to_lowercase();
        let is_lower = word.chars().all(|c| !c.is_uppercase());
        let names = self.names.iter().filter(|name| name.to_lowercase().starts_with(&lower)).cloned();
        let keywords = KEYWORDS.iter().filter(|keyword| keyword.to_lowercase().starts_with(&lower));
        let keywords =
            keywords.map(|keyword| if is_lower { keyword.to_lowercase() } else { (*keyword).to_owned() });
        names.chain(keywords).collect()
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

/// What is typed in, and how answers look.
pub(super) struct Shell {
    server: ServerArgs,
    look: Look,
    timing: bool,
    last: Option<String>,
    transaction: Transaction,
    /// Ctrl-C off the prompt. One for the whole session: none is lost between two queries.
    interrupt: Signal,
}

/// What became of a query.
enum Outcome {
    Done,
    Failed,
    Interrupted,
}

impl Shell {
    fn new(args: &SqlArgs, interrupt: Signal) -> Shell {
        Shell {
            server: args.server.clone(),
            look: look(args.format),
            timing: args.timing,
            last: None,
            transaction: Transaction::default(),
            interrupt,
        }
    }

    /// Reads and runs until the user leaves.
    pub(super) async fn run(args: &SqlArgs) -> anyhow::Result<()> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Editor<Words, FileHistory> = Editor::with_config(config)?;
        // Behind the editor, which listens for the signal too and would take it away.
        let mut shell = Shell::new(args, signal(SignalKind::interrupt())?);
        editor.set_helper(Some(Words { names: shell.names().await? }));
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            let _ = editor.load_history(file);
        }
        print(&format!("nowcast {}, {}. \\? for help.\n", env!("CARGO_PKG_VERSION"), shell.server.to));
        let mut text = String::new();
        loop {
            let prompt = match (text.is_empty(), shell.transaction.is_open()) {
                (true, false) => "nowcast=> ",
                (true, true) => "nowcast*> ",
                (false, _) => "nowcast-> ",
            };
            match tokio::task::block_in_place(|| editor.readline(prompt)) {
                Ok(line) => {
                    if text.is_empty() && line.trim_start().starts_with('\\') {
                        // A line that cannot be remembered still counts.
                        let _ = editor.add_history_entry(line.trim());
                        if shell.command(line.trim()).await {
                            break;
                        }
                        continue;
                    }
                    text.push_str(&line);
                    text.push('\n');
                    let (statements, rest) = split(&text);
                    let rest = rest.to_owned();
                    if !statements.is_empty() {
                        let _ = editor.add_history_entry(text[..text.len() - rest.len()].trim());
                    }
                    shell.statements(statements, &mut editor).await;
                    text = if rest.trim().is_empty() { String::new() } else { rest };
                }
                Err(ReadlineError::Interrupted) => {
                    text.clear();
                    if shell.transaction.rest().is_some() {
                        print("the transaction was dropped\n");
                    }
                }
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(file) = &history
            && let Err(error) = editor.save_history(file)
        {
            let _ = writeln!(std::io::stderr(), "the history cannot be kept in {}: {error}", file.display());
        }
        Ok(())
    }

    async fn statements(&mut self, statements: Vec<String>, editor: &mut Editor<Words, FileHistory>) {
        for statement in statements {
            let word = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let Some(ready) = self.transaction.take(statement) else { continue };
            self.last = Some(ready.clone());
            if !matches!(self.query(&ready).await, Outcome::Done) {
                break;
            }
            if matches!(word.as_str(), "CREATE" | "DROP" | "ALTER")
                && let Ok(names) = self.names().await
                && let Some(words) = editor.helper_mut()
            {
                words.names = names;
            }
        }
    }

    /// Runs a text and prints the answer; Ctrl-C ends it.
    async fn query(&mut self, text: &str) -> Outcome {
        let began = Instant::now();
        let outcome = tokio::select! {
            outcome = exec(&self.server, text) => outcome,
            _ = self.interrupt.recv() => {
                print("\nthe query was ended\n");
                return Outcome::Interrupted;
            }
        };
        match outcome {
            Ok((text, answer)) => {
                let width = look(self.look.format).width;
                print(&show(&text, &answer, Look { width, ..self.look }));
                if self.timing {
                    print(&format!("{}\n", took(began)));
                }
                Outcome::Done
            }
            Err(error) => {
                let (red, plain) = if self.look.colour { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
                print(&format!("{red}error:{plain} {error:#}\n"));
                Outcome::Failed
            }
        }
    }

    /// Runs a text whose outcome changes nothing here.
    async fn show(&mut self, text: &str) {
        self.query(text).await;
    }

    /// A command with `\`; true to leave.
    async fn command(&mut self, line: &str) -> bool {
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (name, argument) = (name, argument.trim().trim_end_matches(';'));
        match name {
            "\\q" | "\\quit" => return true,
            "\\?" | "\\h" | "\\help" => print(HELP),
            "\\dt" => self.show("SHOW TABLES").await,
            "\\d" if argument.is_empty() => self.show("SHOW TABLES").await,
            "\\d" => self.show(&format!("SHOW COLUMNS FROM {argument}")).await,
            "\\x" => {
                self.look.expanded = !self.look.expanded;
                print(if self.look.expanded { "a line for each cell\n" } else { "a line for each row\n" });
            }
            "\\timing" => {
                self.timing = !self.timing;
                print(if self.timing { "timing is on\n" } else { "timing is off\n" });
            }
            "\\format" => match <SqlFormat as clap::ValueEnum>::from_str(argument, true) {
                Ok(format) => self.look.format = format,
                Err(_) => print("the formats are table, csv, json, ndjson, markdown\n"),
            },
            "\\watch" => self.watch(argument).await,
            other => print(&format!("there is no command {other}; \\? lists them\n")),
        }
        false
    }

    async fn watch(&mut self, argument: &str) {
        let Some(text) = self.last.clone() else {
            print("no query ran yet\n");
            return;
        };
        let seconds = if argument.is_empty() { Some(2.0) } else { argument.parse::<f64>().ok() };
        let Some(seconds) = seconds.filter(|seconds| (0.1..=86_400.0).contains(seconds)) else {
            print("\\watch takes seconds, from 0.1 to a day\n");
            return;
        };
        while matches!(self.query(&text).await, Outcome::Done) {
            let waited = tokio::time::sleep(Duration::from_secs_f64(seconds));
            tokio::select! {
                () = waited => {}
                _ = self.interrupt.recv() => {
                    print("\n");
                    return;
                }
            }
        }
    }

    /// The names of tables and columns; fails only if nobody is there to be asked.
    async fn names(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for sql in ["SHOW TABLES", "SELECT DISTINCT column_name FROM information_schema.columns LIMIT 10000"]
        {
            match exec(&self.server, sql).await {
                Ok((_, answer)) => names.extend(texts(&answer)),
                Err(error) if error.downcast_ref::<Unreachable>().is_some() => return Err(error),
                // Without names Tab still knows the keywords.
                Err(_) => {}
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// `$XDG_STATE_HOME/nowcast/history`, else `~/.local/state/nowcast/history`, which nobody else can read. None where
/// there is no home.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?.join("nowcast");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).ok()?;
    let file = dir.join("history");
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&file).ok()?;
    opened.set_permissions(PermissionsExt::from_mode(0o600)).ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed() {
        let words = Words { names: vec!["orders".into(), "Order_Items".into()] };
        assert_eq!(words.matching("ord"), ["orders", "Order_Items", "order"]);
        assert_eq!(words.matching("SEL"), ["SELECT"]);
        assert_eq!(words.matching("sel"), ["select"]);
        assert!(words.matching("").is_empty() && words.matching("xyz").is_empty());
        let mut sorted = KEYWORDS;
        sorted.sort_unstable();
        assert_eq!(sorted, KEYWORDS);
    }
}
