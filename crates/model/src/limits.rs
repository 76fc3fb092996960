//! Limits that more than one stage relies on. Settings elsewhere may lower them, never raise them.

/// A name's length in bytes: QuestDB's limit, and what every file system takes as a file name.
pub const NAME_BYTES_MAX: usize = 127;

/// Columns of one table: wide enough for Telegraf's widest inputs, small enough to keep a hostile client
/// from growing a schema without end.
pub const COLUMNS_MAX: usize = 2_000;

/// Tables of one server, for the same reason.
pub const TABLES_MAX: usize = 10_000;

/// One record in the log, encoded: bounds what recovery has to hold in memory.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Rows of one hot batch after merging: DataFusion's batch size, so that a scan need not re-slice.
pub const HOT_BATCH_ROWS: usize = 8_192;
