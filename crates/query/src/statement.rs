//! What a text can ask for.

use std::sync::Arc;

use datafusion::sql::sqlparser::{ast, tokenizer::Token};
use nowcast_model::{Column, ColumnType, PartitionBy};

use crate::{
    dialect::Clauses,
    error::{Place, SqlCode, SqlError},
    text::Text,
};

/// One statement, parsed. Names are not looked up yet.
#[derive(Debug, Clone)]
pub enum Statement {
    /// SELECT, WITH, VALUES, or a table's name alone.
    Query(Select),
    /// EXPLAIN: how a query would run.
    Explain {
        /// The query.
        query: Select,
        /// EXPLAIN ANALYZE: runs it, too.
        analyze: bool,
        /// EXPLAIN VERBOSE: every step of the planner.
        verbose: bool,
    },
    /// EXPLAIN LIVE: how a query would be kept up to date, and why so.
    ExplainLive(Select),
    /// INSERT.
    Insert(Insert),
    /// UPDATE.
    Update(Update),
    /// DELETE.
    Delete(Delete),
    /// COPY FROM STDIN, COPY TO STDOUT: rows in PostgreSQL's formats.
    Copy(Copy),
    /// DECLARE … CURSOR FOR.
    Declare(Declare),
    /// FETCH, MOVE.
    Fetch(Fetch),
    /// CREATE TABLE.
    CreateTable(CreateTable),
    /// CREATE SCHEMA.
    CreateSchema {
        /// The schema's name as written.
        name: String,
        /// No error if it exists.
        if_not_exists: bool,
        /// Where the name stands.
        place: Place,
    },
    /// DROP TABLE.
    DropTable {
        /// The tables.
        tables: Vec<NameRef>,
        /// No error where one does not exist.
        if_exists: bool,
    },
    /// TRUNCATE TABLE.
    Truncate {
        /// The tables.
        tables: Vec<NameRef>,
        /// No error where one does not exist.
        if_exists: bool,
    },
    /// ALTER TABLE … ADD COLUMN.
    AddColumns {
        /// The table.
        table: NameRef,
        /// The columns.
        columns: Vec<Column>,
        /// No error where one exists.
        if_not_exists: bool,
    },
    /// ALTER TABLE … RENAME COLUMN … TO ….
    RenameColumn {
        /// The table.
        table: NameRef,
        /// The column.
        from: (String, Place),
        /// Its new name.
        to: (String, Place),
    },
    /// ALTER TABLE … DROP COLUMN.
    DropColumns {
        /// The table.
        table: NameRef,
        /// The columns.
        columns: Vec<(String, Place)>,
        /// No error where one does not exist.
        if_exists: bool,
    },
    /// RENAME TABLE … TO …, ALTER TABLE … RENAME TO ….
    RenameTable {
        /// The table.
        table: NameRef,
        /// Its new name; without a schema it stays in its own.
        to: NameRef,
        /// No error if the table does not exist.
        if_exists: bool,
        /// `RENAME TABLE` or `ALTER TABLE`.
        tag: &'static str,
    },
    /// ALTER TABLE … SET TTL.
    SetTtl {
        /// The table.
        table: NameRef,
        /// Seconds; `None` keeps rows for ever.
        ttl_s: Option<u64>,
    },
    /// ALTER TABLE … DEDUP ENABLE UPSERT KEYS(…), or DEDUP DISABLE without keys.
    SetDedup {
        /// The table.
        table: NameRef,
        /// The columns as written.
        keys: Vec<(String, Place)>,
    },
    /// ALTER TABLE … DROP PARTITION LIST '2026-01-31', ….
    DropPartitions {
        /// The table.
        table: NameRef,
        /// Each partition's beginning, or its first part, as written.
        partitions: Vec<(String, Place)>,
    },
    /// GRANT and REVOKE: taken, and nothing comes of it.
    Grant {
        /// The word that it began with, upper case.
        word: &'static str,
    },
    /// ALTER DATABASE … SET, ALTER ROLE … SET: what sessions begin with.
    SetDefault {
        /// The variable, lower case.
        name: String,
        /// What it is set to; `None` with RESET.
        value: Option<String>,
        /// ALTER DATABASE or ALTER ROLE.
        tag: &'static str,
    },
    /// SHOW.
    Show(Show),
    /// SET, and RESET with no value. The server keeps session variables.
    Set {
        /// The variable, lower case.
        name: String,
        /// What it is set to, quotes taken off.
        value: Option<String>,
    },
    /// Variables of the transaction alone: SET LOCAL, SET TRANSACTION. As [`Statement::Set`].
    SetLocal(Vec<(String, Option<String>)>),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION: variables of the session.
    SetAll(Vec<(String, Option<String>)>),
    /// BEGIN, START TRANSACTION, with what SET LOCAL would say behind it.
    Begin(Vec<(String, Option<String>)>),
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint {
        /// The savepoint's name.
        name: String,
        /// What is done with it.
        does: Savepoint,
    },
    /// DISCARD, DEALLOCATE, CLOSE, UNLISTEN: forgets session state that SQL here does not have.
    Discard {
        /// The word that it began with, upper case.
        word: &'static str,
        /// What to forget; empty or `ALL` for all.
        name: String,
    },
}

/// What is done with a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Savepoint {
    /// SAVEPOINT: it is here.
    Set,
    /// RELEASE: it is forgotten.
    Release,
    /// ROLLBACK TO: what came behind it is forgotten.
    RollbackTo,
}

/// What SHOW shows.
#[derive(Debug, Clone)]
pub enum Show {
    /// SHOW TABLES.
    Tables,
    /// SHOW COLUMNS FROM table.
    Columns(NameRef),
    /// SHOW PARTITIONS FROM table.
    Partitions(NameRef),
    /// SHOW CREATE TABLE table.
    CreateTable(NameRef),
    /// SHOW SCHEMAS.
    Schemas,
    /// SHOW variable; lower case.
    Variable(String),
}

/// A query.
#[derive(Debug, Clone)]
pub struct Select {
    pub(crate) text: Text,
    /// Names folded, placeholders not replaced.
    pub(crate) ast: Box<ast::Query>,
    /// What the SQL parser does not know.
    pub(crate) clauses: Arc<Clauses>,
}

/// Words of a query beyond which it may take long to plan. What people write by hand has a tenth of them; lists of
/// values have none.
const WORDS_HEAVY: usize = 1_000;

impl Select {
    fn is_heavy(&self) -> bool {
        let words = self.text.tokens.iter().filter(|token| matches!(token.token, Token::Word(_)));
        !matches!(*self.ast.body, ast::SetExpr::Values(_)) && words.count() > WORDS_HEAVY
    }

    /// The query as the user wrote it.
    pub fn text(&self) -> &str {
        self.text.slice()
    }
}

/// INSERT INTO table [(columns)] query.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The table.
    pub table: NameRef,
    /// The columns as written; empty for all in their order.
    pub(crate) columns: Vec<(String, Place)>,
    pub(crate) source: Select,
}

/// UPDATE table SET column = value, … FROM … WHERE ….
#[derive(Debug, Clone)]
pub struct Update {
    /// The table.
    pub table: NameRef,
    /// The columns that are set, as written.
    pub(crate) columns: Vec<(String, Place)>,
    /// `_seq`, all columns, then the new values.
    pub(crate) select: Select,
}

/// DELETE FROM table USING … WHERE ….
#[derive(Debug, Clone)]
pub struct Delete {
    /// The table.
    pub table: NameRef,
    /// True without a condition.
    pub(crate) is_all: bool,
    /// `_seq`, then all columns.
    pub(crate) select: Select,
}

/// COPY.
#[derive(Debug, Clone)]
pub struct Copy {
    /// What is copied.
    pub source: CopySource,
    /// How it is written.
    pub options: CopyOptions,
}

/// What COPY copies.
#[derive(Debug, Clone)]
pub enum CopySource {
    /// Rows of the client's into a table.
    Stdin {
        /// The table.
        table: NameRef,
        /// The columns as written; empty for all in their order.
        columns: Vec<(String, Place)>,
    },
    /// Rows of a query, or of a table, to the client.
    Stdout(Select),
}

/// PostgreSQL's three forms of COPY's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// A line for each row, backslashes before what would end a value.
    Text,
    /// Values in quotes where they need them.
    Csv,
    /// Each value with its length.
    Binary,
}

/// COPY's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// The form.
    pub format: CopyFormat,
    /// The first line holds names.
    pub header: bool,
    /// They must be the columns' names.
    pub header_match: bool,
    /// Between values; `None` is the form's own.
    pub delimiter: Option<u8>,
    /// Around values, in CSV.
    pub quote: u8,
    /// Before a quote in a value, in CSV; `None` is the quote itself.
    pub escape: Option<u8>,
    /// What stands for NULL; `None` is the form's own.
    pub null: Option<String>,
    /// Quotes around every value that is not NULL, in CSV.
    pub force_quote: bool,
}

impl CopyOptions {
    pub(crate) fn new(format: CopyFormat) -> CopyOptions {
        CopyOptions {
            format,
            header: false,
            header_match: false,
            delimiter: None,
            quote: b'"',
            escape: None,
            null: None,
            force_quote: false,
        }
    }

    /// Refuses options that cannot go together: what one writes, the other must be able to read.
    pub(crate) fn check(&self, from: bool, place: Place) -> Result<(), SqlError> {
        let refuse = |what: &str| Err(SqlError::new(SqlCode::Parameter, what).at(place));
        let (delimiter, null) = (self.delimiter(), self.null());
        if self.format == CopyFormat::Binary {
            let plain = CopyOptions::new(CopyFormat::Binary);
            return if *self == plain { Ok(()) } else { refuse("COPY's BINARY format has no other options") };
        }
        if self.format == CopyFormat::Text
            && (self.escape.is_some() || self.quote != b'"' || self.force_quote)
        {
            return refuse("QUOTE, ESCAPE and FORCE_QUOTE need FORMAT csv");
        }
        let plain = !delimiter.is_ascii_alphanumeric() && delimiter != b'.' && delimiter != b'\\';
        if matches!(delimiter, b'\n' | b'\r') || !(plain || self.format == CopyFormat::Csv) {
            return refuse("COPY's DELIMITER would be part of values");
        }
        if self.format == CopyFormat::Csv && delimiter == self.quote {
            return refuse("COPY's DELIMITER and QUOTE must differ");
        }
        if null.bytes().any(|b| matches!(b, b'\n' | b'\r') || b == delimiter) {
            return refuse("COPY's NULL cannot hold the DELIMITER or a line's end");
        }
        if self.header_match && !from {
            return refuse("HEADER MATCH is for COPY FROM");
        }
        Ok(())
    }

    /// What stands between values.
    pub fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(if self.format == CopyFormat::Csv { b',' } else { b'\t' })
    }

    /// What stands for NULL.
    pub fn null(&self) -> &str {
        let own = if self.format == CopyFormat::Csv { "" } else { "\\N" };
        self.null.as_deref().unwrap_or(own)
    }
}

/// DECLARE name CURSOR FOR query.
#[derive(Debug, Clone)]
pub struct Declare {
    /// The cursor's name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// FETCH answers in binary.
    pub binary: bool,
    /// WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// The query.
    pub query: Select,
}

/// FETCH or MOVE.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The cursor's name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// Rows; `None` for all that are left.
    pub count: Option<u64>,
    /// MOVE: the rows are skipped.
    pub moves: bool,
}

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// The table.
    pub table: NameRef,
    /// No error if it exists.
    pub if_not_exists: bool,
    pub(crate) columns: Vec<Column>,
    /// AS: the query whose rows it gets, and whose columns.
    pub(crate) source: Option<Select>,
    /// `cast(column AS TYPE)` behind the query.
    pub(crate) casts: Vec<(String, ColumnType, Place)>,
    /// LIKE: the table that it is to look like.
    pub(crate) like: Option<NameRef>,
    pub(crate) timestamp: Option<(String, Place)>,
    pub(crate) partition_by: Option<(PartitionBy, Place)>,
    pub(crate) ttl_s: Option<u64>,
    pub(crate) dedup_keys: Vec<(String, Place)>,
}

/// A table's name as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRef {
    /// The schema, if one was given.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// Where it stands.
    pub place: Place,
}

impl Statement {
    /// True if it answers with rows and changes nothing.
    pub fn is_query(&self) -> bool {
        matches!(
            self,
            Statement::Query(_) | Statement::Explain { .. } | Statement::ExplainLive(_) | Statement::Show(_)
        )
    }

    /// True if it is so long that planning it may take long.
    pub fn is_heavy(&self) -> bool {
        match self {
            Statement::Query(select) | Statement::Explain { query: select, .. } => select.is_heavy(),
            Statement::ExplainLive(select) => select.is_heavy(),
            Statement::Insert(insert) => insert.source.is_heavy(),
            Statement::Update(update) => update.select.is_heavy(),
            Statement::Delete(delete) => delete.select.is_heavy(),
            Statement::Declare(declare) => declare.query.is_heavy(),
            Statement::CreateTable(create) => create.source.as_ref().is_some_and(Select::is_heavy),
            _ => false,
        }
    }

    /// True if it changes tables: [`crate::QueryEngine::write_items`] makes the record's items of it.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::CreateTable(_)
                | Statement::CreateSchema { .. }
                | Statement::DropTable { .. }
                | Statement::Truncate { .. }
                | Statement::AddColumns { .. }
                | Statement::RenameColumn { .. }
                | Statement::DropColumns { .. }
                | Statement::RenameTable { .. }
                | Statement::SetTtl { .. }
                | Statement::SetDedup { .. }
                | Statement::DropPartitions { .. }
                | Statement::SetDefault { .. }
        )
    }

    /// True if it writes rows: INSERT, CREATE TABLE AS.
    pub fn inserts(&self) -> bool {
        matches!(self, Statement::Insert(_) | Statement::CreateTable(CreateTable { source: Some(_), .. }))
    }

    /// True if it changes rows that are there.
    pub fn mutates(&self) -> bool {
        matches!(self, Statement::Update(_) | Statement::Delete(_))
    }

    /// The word of PostgreSQL's command tag; rows are added by who knows them (`INSERT 0 3`, `SELECT 5`).
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::Query(_) => "SELECT",
            Statement::Explain { .. } | Statement::ExplainLive(_) => "EXPLAIN",
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Copy(_) => "COPY",
            Statement::Declare(_) => "DECLARE CURSOR",
            Statement::Fetch(Fetch { moves: false, .. }) => "FETCH",
            Statement::Fetch(Fetch { moves: true, .. }) => "MOVE",
            // PostgreSQL's.
            Statement::CreateTable(CreateTable { source: Some(_), .. }) => "SELECT",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateSchema { .. } => "CREATE SCHEMA",
            Statement::DropTable { .. } => "DROP TABLE",
            Statement::Truncate { .. } => "TRUNCATE TABLE",
            Statement::AddColumns { .. }
            | Statement::DropColumns { .. }
            | Statement::RenameColumn { .. }
            | Statement::SetTtl { .. }
            | Statement::SetDedup { .. }
            | Statement::DropPartitions { .. } => "ALTER TABLE",
            Statement::Grant { word } => word,
            Statement::RenameTable { tag, .. } | Statement::SetDefault { tag, .. } => tag,
            Statement::Show(_) => "SHOW",
            Statement::Set { value: Some(_), .. } | Statement::SetLocal(_) | Statement::SetAll(_) => "SET",
            Statement::Set { value: None, .. } => "RESET",
            Statement::Begin(_) => "BEGIN",
            Statement::Commit => "COMMIT",
            Statement::Rollback | Statement::Savepoint { does: Savepoint::RollbackTo, .. } => "ROLLBACK",
            Statement::Savepoint { does: Savepoint::Set, .. } => "SAVEPOINT",
            Statement::Savepoint { does: Savepoint::Release, .. } => "RELEASE",
            Statement::Discard { word, .. } => word,
        }
    }
}
