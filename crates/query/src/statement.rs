//! What a text can ask for.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use nowcast_model::{Column, ColumnType, PartitionBy};

use crate::{dialect::Clauses, error::Place, text::Text};

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
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// DISCARD, DEALLOCATE, CLOSE, UNLISTEN: forgets session state that SQL here does not have.
    Discard {
        /// The word that it began with, upper case.
        word: &'static str,
        /// What to forget; empty or `ALL` for all.
        name: String,
    },
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

impl Select {
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
                | Statement::SetTtl { .. }
                | Statement::SetDedup { .. }
                | Statement::DropPartitions { .. }
                | Statement::SetDefault { .. }
        )
    }

    /// True if it writes the rows of a query, which may be more than fit into one record.
    pub fn writes_a_query(&self) -> bool {
        match self {
            Statement::Insert(insert) => !matches!(&*insert.source.ast.body, ast::SetExpr::Values(_)),
            Statement::CreateTable(create) => create.source.is_some(),
            _ => false,
        }
    }

    /// The word of PostgreSQL's command tag; rows are added by who knows them (`INSERT 0 3`, `SELECT 5`).
    pub fn tag(&self) -> &'static str {
        match self {
            Statement::Query(_) => "SELECT",
            Statement::Explain { .. } | Statement::ExplainLive(_) => "EXPLAIN",
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateSchema { .. } => "CREATE SCHEMA",
            Statement::DropTable { .. } => "DROP TABLE",
            Statement::Truncate { .. } => "TRUNCATE TABLE",
            Statement::AddColumns { .. }
            | Statement::RenameColumn { .. }
            | Statement::SetTtl { .. }
            | Statement::SetDedup { .. }
            | Statement::DropPartitions { .. } => "ALTER TABLE",
            Statement::Grant { word } => word,
            Statement::SetDefault { tag, .. } => tag,
            Statement::Show(_) => "SHOW",
            Statement::Set { value: Some(_), .. } => "SET",
            Statement::Set { value: None, .. } => "RESET",
            Statement::Begin => "BEGIN",
            Statement::Commit => "COMMIT",
            Statement::Rollback => "ROLLBACK",
            Statement::Discard { word, .. } => word,
        }
    }
}
