//! `nowcast sql`: statements from the command line, a file, standard input, or typed in.

use std::{
    io::{IsTerminal, Read, Write},
    time::Instant,
};

use anyhow::Context;
use serde_json::Value;

use super::{
    script::{Transaction, split},
    shell::Shell,
    show::{Look, show},
    wire::exec,
};
use crate::cli::{SqlArgs, SqlFormat};

/// Runs the statements and prints their answers.
///
/// # Errors
/// The server cannot be reached, or refuses a statement; those before it have run.
pub fn sql(args: &SqlArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut text = String::new();
    match (args.query.as_deref().or(args.command.as_deref()), &args.file) {
        (Some("-"), _) => {
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        }
        (Some(query), _) => query.clone_into(&mut text),
        (None, Some(file)) => {
            text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        }
        (None, None) if std::io::stdin().is_terminal() => {
            return runtime.block_on(Shell::run(args));
        }
        (None, None) => {
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        }
    }
    let look = look(args.format);
    let (statements, rest) = split(&text);
    let mut transaction = Transaction::default();
    let rest = (!rest.trim().is_empty()).then(|| rest.to_owned());
    let mut ready: Vec<String> =
        statements.into_iter().chain(rest).filter_map(|statement| transaction.take(statement)).collect();
    // The server tells what is wrong with a transaction that does not end.
    ready.extend(transaction.rest());
    if ready.is_empty() {
        // And with no statement at all.
        ready.push(text);
    }
    for statement in ready {
        let began = Instant::now();
        let (text, answer) = runtime.block_on(exec(&args.server, &statement))?;
        print(&show(&text, &answer, look));
        if args.timing {
            // Beside what a program reads.
            let _ = writeln!(std::io::stderr(), "{}", took(began));
        }
    }
    Ok(())
}

/// How answers look here.
pub(super) fn look(format: SqlFormat) -> Look {
    let is_terminal = std::io::stdout().is_terminal();
    let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let width = is_terminal.then(|| rustix::termios::tcgetwinsize(std::io::stdout()).ok()).flatten();
    let width = width.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
    Look { format, width, colour, expanded: false }
}

/// `Time: 12.3 ms`
pub(super) fn took(began: Instant) -> String {
    format!("Time: {:.1} ms", began.elapsed().as_secs_f64() * 1_000.0)
}

/// A reader that went away (`| head`) has what it wanted.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// The texts of an answer's first column.
pub(super) fn texts(answer: &Value) -> Vec<String> {
    let rows = answer.get("dataset").and_then(Value::as_array);
    let first = |row: &Value| row.get(0)?.as_str().map(str::to_owned);
    rows.into_iter().flatten().filter_map(first).collect()
}
