//! DuckDB in a Python process of its own, asked by pipe.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context;

/// Reads a query a line; answers with the seconds that it took and what [`Digest`] holds. The answer is taken as Arrow,
/// as Nowcast's is: Python objects would cost more than many a query.
const PROGRAM: &str = "
import sys, time, duckdb
import pyarrow as pa, pyarrow.compute as pc
connection = duckdb.connect()
connection.execute('SET threads = ' + sys.argv[1])
connection.execute('PRAGMA disable_progress_bar')
print(duckdb.__version__, flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    answer = connection.execute(line)
    table = answer.to_arrow_table() if hasattr(answer, 'to_arrow_table') else answer.fetch_arrow_table()
    took = time.perf_counter() - began
    sum_of_numbers, bytes_of_text = 0.0, 0
    for column in table.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            sum_of_numbers += pc.sum(column.cast(pa.float64())).as_py() or 0.0
        elif pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
            bytes_of_text += pc.sum(pc.binary_length(column.cast(pa.string()))).as_py() or 0
    print(took, table.num_rows, repr(sum_of_numbers), bytes_of_text, flush=True)
";

/// What two answers must share to be taken for equal, in whatever order their rows come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digest {
    pub(crate) rows: usize,
    /// Over all columns of numbers, as doubles.
    pub(crate) sum_of_numbers: f64,
    /// Over all columns of text.
    pub(crate) bytes_of_text: u64,
}

impl Digest {
    /// Sums of doubles depend on the order of the rows.
    pub(crate) fn agrees(&self, other: &Digest) -> bool {
        let distance = (self.sum_of_numbers - other.sum_of_numbers).abs();
        self.rows == other.rows
            && self.bytes_of_text == other.bytes_of_text
            && distance <= 1e-9 * self.sum_of_numbers.abs().max(1.0)
    }
}

/// A Python process with DuckDB; it ends with this.
pub(crate) struct DuckDb {
    child: Child,
    queries: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) version: String,
}

impl DuckDb {
    /// With so many threads a query. `None` if neither `python` nor, without it, any Python known here has the package.
    pub(crate) fn start(python: Option<&Path>, threads: usize) -> anyhow::Result<Option<DuckDb>> {
        let Some(python) = find(python) else { return Ok(None) };
        let mut child = Command::new(python)
            .args(["-c", PROGRAM, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let queries = child.stdin.take().context("DuckDB has no input")?;
        let answers = BufReader::new(child.stdout.take().context("DuckDB has no output")?);
        let mut duckdb = DuckDb { child, queries, answers, version: String::new() };
        duckdb.version = duckdb.line()?;
        Ok(Some(duckdb))
    }

    /// Seconds that a query of one line took, and its answer in short.
    pub(crate) fn run(&mut self, sql: &str) -> anyhow::Result<(f64, Digest)> {
        writeln!(self.queries, "{sql}")?;
        let line = self.line()?;
        let fields: Vec<&str> = line.split(' ').collect();
        let [seconds, rows, sum_of_numbers, bytes_of_text] = fields[..] else {
            anyhow::bail!("DuckDB did not answer {sql:?}");
        };
        let digest = Digest {
            rows: rows.parse()?,
            sum_of_numbers: sum_of_numbers.parse()?,
            bytes_of_text: bytes_of_text.parse()?,
        };
        Ok((seconds.parse()?, digest))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that can import what the program needs.
fn find(python: Option<&Path>) -> Option<PathBuf> {
    let cache = std::env::var_os("NOWCAST_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/nowcast")));
    let of_tests = cache.map(|cache| cache.join("venv/requirements/bin/python"));
    let candidates = match python {
        Some(python) => vec![python.to_owned()],
        None => of_tests.into_iter().chain([PathBuf::from("python3")]).collect(),
    };
    candidates.into_iter().find(|python| {
        let mut command = Command::new(python);
        let status = command.args(["-c", "import duckdb, pyarrow"]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_do_not_agree() {
        let digest = Digest { rows: 2, sum_of_numbers: 1e12, bytes_of_text: 7 };
        assert!(digest.agrees(&Digest { sum_of_numbers: 1e12 + 1.0, ..digest }));
        assert!(!digest.agrees(&Digest { sum_of_numbers: 1e12 + 2e3, ..digest }));
        assert!(!digest.agrees(&Digest { rows: 3, ..digest }));
        assert!(!digest.agrees(&Digest { bytes_of_text: 8, ..digest }));
    }
}
