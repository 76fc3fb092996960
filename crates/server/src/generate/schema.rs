//! The seven tables: their columns, and the SQL that makes them.

use nowcast_model::{Column, ColumnType, PartitionBy, TableName, TableSchema};

use ColumnType::{Double, Long, Symbol, Timestamp, Varchar};

/// Positions in what [`schemas`] returns, which is the order in which the tables are written.
pub(super) mod table {
    pub(crate) const PRODUCTS: usize = 0;
    pub(crate) const DIST_CENTERS: usize = 1;
    /// The first of the five that grow.
    pub(crate) const USERS: usize = 2;
}

/// A table's name, partitioning, whether old rows may go, and columns. The time column is `created_at`.
type Layout = (&'static str, PartitionBy, bool, &'static [(&'static str, ColumnType)]);

/// Sign-ups since 2019 would make 2,500 daily partitions of a few rows, stock of 60 days 60.
static LAYOUTS: [Layout; 7] = [
    (
        "products",
        PartitionBy::None,
        false,
        &[
            ("id", Long),
            ("cost", Double),
            ("category", Symbol),
            ("name", Varchar),
            ("brand", Symbol),
            ("retail_price", Double),
            ("department", Symbol),
            ("sku", Varchar),
            ("distribution_center_id", Long),
        ],
    ),
    (
        "dist_centers",
        PartitionBy::None,
        false,
        &[("id", Long), ("name", Varchar), ("latitude", Double), ("longitude", Double)],
    ),
    (
        "users",
        PartitionBy::Year,
        false,
        &[
            ("id", Varchar),
            ("first_name", Varchar),
            ("last_name", Varchar),
            ("email", Varchar),
            ("age", Long),
            ("gender", Symbol),
            ("state", Varchar),
            ("street_address", Varchar),
            ("postal_code", Varchar),
            ("city", Varchar),
            ("country", Symbol),
            ("latitude", Double),
            ("longitude", Double),
            ("traffic_source", Symbol),
            ("created_at", Timestamp),
        ],
    ),
    (
        "orders",
        PartitionBy::Day,
        true,
        &[
            ("order_id", Varchar),
            ("user_id", Varchar),
            ("status", Symbol),
            ("gender", Symbol),
            ("created_at", Timestamp),
            ("returned_at", Timestamp),
            ("shipped_at", Timestamp),
            ("delivered_at", Timestamp),
            ("num_of_item", Long),
        ],
    ),
    (
        "order_items",
        PartitionBy::Day,
        true,
        &[
            ("id", Varchar),
            ("order_id", Varchar),
            ("user_id", Varchar),
            ("product_id", Long),
            ("inventory_item_id", Varchar),
            ("status", Symbol),
            ("created_at", Timestamp),
            ("shipped_at", Timestamp),
            ("delivered_at", Timestamp),
            ("returned_at", Timestamp),
            ("sale_price", Double),
        ],
    ),
    (
        "inventory_items",
        PartitionBy::Month,
        true,
        &[
            ("id", Varchar),
            ("product_id", Long),
            ("created_at", Timestamp),
            ("sold_at", Timestamp),
            ("cost", Double),
            ("product_category", Symbol),
            ("product_name", Varchar),
            ("product_brand", Symbol),
            ("product_retail_price", Double),
            ("product_department", Symbol),
            ("product_sku", Varchar),
            ("product_distribution_center_id", Long),
        ],
    ),
    (
        "events",
        PartitionBy::Day,
        true,
        &[
            ("id", Varchar),
            ("user_id", Varchar),
            ("sequence_number", Long),
            ("session_id", Varchar),
            ("created_at", Timestamp),
            ("ip_address", Varchar),
            ("city", Varchar),
            ("state", Varchar),
            ("postal_code", Varchar),
            ("browser", Symbol),
            ("traffic_source", Symbol),
            ("uri", Varchar),
            ("event_type", Symbol),
        ],
    ),
];

/// The seven tables in `schema`: `products` and `dist_centers`, which have no time column, then `users`,
/// `orders`, `order_items`, `inventory_items` and `events`, whose time column is `created_at`.
///
/// `ttl_s` is the age in seconds past which orders, items, events and stock go; users and products stay.
pub fn schemas(schema: &str, ttl_s: Option<u64>) -> Vec<TableSchema> {
    LAYOUTS
        .iter()
        .map(|&(name, partition_by, ages, columns)| TableSchema {
            name: TableName::new(schema, name),
            columns: columns.iter().map(|&(name, ty)| Column::new(name, ty)).collect(),
            timestamp: columns
                .iter()
                .position(|&(name, _)| name == "created_at")
                .filter(|_| partition_by != PartitionBy::None),
            partition_by,
            ttl_s: ttl_s.filter(|_| ages),
            dedup_keys: Vec::new(),
            dropped: 0,
        })
        .collect()
}

/// `CREATE TABLE` in QuestDB's words; `nowcast` types and time column.
pub(super) fn create_table_sql(schema: &TableSchema, if_not_exists: bool) -> String {
    let columns: Vec<String> = schema.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
    let unless = if if_not_exists { "IF NOT EXISTS " } else { "" };
    let mut sql = format!("CREATE TABLE {unless}{} ({})", schema.name, columns.join(", "));
    if let Some(time) = schema.timestamp_column() {
        sql += &format!(" TIMESTAMP({}) PARTITION BY {}", time.name, schema.partition_by.name());
    }
    sql
}

/// `CREATE TABLE` in PostgreSQL's words.
pub(super) fn create_table_postgres(schema: &TableSchema) -> String {
    let columns: Vec<String> =
        schema.columns.iter().map(|c| format!("{} {}", c.name, postgres_type(c.ty))).collect();
    format!("CREATE TABLE IF NOT EXISTS {} ({})", schema.name, columns.join(", "))
}

/// PostgreSQL's name of a type that theLook uses.
pub(super) const fn postgres_type(ty: ColumnType) -> &'static str {
    match ty {
        Long => "bigint",
        Double => "double precision",
        Timestamp => "timestamp",
        _ => "text",
    }
}
