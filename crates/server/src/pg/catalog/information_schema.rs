//! `information_schema`, as far as tools read it. There are no keys, views and routines, so those are empty.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{MemTable, SchemaProvider, TableProvider},
    error::Result as DfResult,
};
use nowcast_model::ColumnType;
use nowcast_query::CATALOG;
use nowcast_store::Store;

/// Tables without rows, and their columns.
const EMPTY: [(&str, &str); 20] = [
    ("views", "table_catalog table_schema table_name view_definition"),
    (
        "table_constraints",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name constraint_type is_deferrable initially_deferred enforced",
    ),
    (
        "key_column_usage",
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name column_name ordinal_position position_in_unique_constraint",
    ),
    (
        "constraint_column_usage",
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema constraint_name",
    ),
    (
        "referential_constraints",
        "constraint_catalog constraint_schema constraint_name unique_constraint_catalog unique_constraint_schema unique_constraint_name match_option update_rule delete_rule",
    ),
    (
        "routines",
        "specific_schema specific_name routine_catalog routine_schema routine_name routine_type data_type routine_definition",
    ),
    (
        "triggers",
        "trigger_schema trigger_name event_manipulation event_object_schema event_object_table action_statement",
    ),
    ("sequences", "sequence_catalog sequence_schema sequence_name data_type"),
    (
        "table_privileges",
        "grantor grantee table_catalog table_schema table_name privilege_type is_grantable with_hierarchy",
    ),
    (
        "role_table_grants",
        "grantor grantee table_catalog table_schema table_name privilege_type is_grantable with_hierarchy",
    ),
    (
        "column_privileges",
        "grantor grantee table_catalog table_schema table_name column_name privilege_type is_grantable",
    ),
    (
        "usage_privileges",
        "grantor grantee object_catalog object_schema object_name object_type privilege_type",
    ),
    ("check_constraints", "constraint_catalog constraint_schema constraint_name check_clause"),
    (
        "parameters",
        "specific_catalog specific_schema specific_name ordinal_position parameter_mode parameter_name data_type",
    ),
    ("domains", "domain_catalog domain_schema domain_name data_type domain_default"),
    (
        "element_types",
        "object_catalog object_schema object_name object_type collection_type_identifier data_type",
    ),
    ("user_defined_types", "user_defined_type_catalog user_defined_type_schema user_defined_type_name"),
    ("collations", "collation_catalog collation_schema collation_name pad_attribute"),
    (
        "character_sets",
        "character_set_catalog character_set_schema character_set_name character_repertoire form_of_use default_collate_catalog default_collate_schema default_collate_name",
    ),
    ("applicable_roles", "grantee role_name is_grantable"),
];

/// The newest snapshot's tables, in the standard's terms.
#[derive(Clone)]
pub(super) struct InformationSchema(pub(super) Arc<Store>);

impl std::fmt::Debug for InformationSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InformationSchema").finish_non_exhaustive()
    }
}

/// A table under way.
#[derive(Default)]
struct Rows(Vec<(&'static str, ArrayRef)>);

impl Rows {
    fn text<T: Into<Option<String>>>(mut self, name: &'static str, cells: impl Iterator<Item = T>) -> Rows {
        self.0.push((name, Arc::new(cells.map(Into::into).collect::<StringArray>())));
        self
    }

    fn int(mut self, name: &'static str, cells: impl Iterator<Item = Option<i32>>) -> Rows {
        self.0.push((name, Arc::new(cells.collect::<Int32Array>())));
        self
    }

    fn table(self) -> DfResult<Arc<dyn TableProvider>> {
        let columns = self.0.into_iter().map(|(name, array)| (name, array, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

impl InformationSchema {
    fn tables(&self) -> DfResult<Arc<dyn TableProvider>> {
        let snapshot = self.0.snapshot();
        let all = || snapshot.tables.values().map(|table| &table.schema.name);
        let same = |value: &'static str| all().map(move |_| value.to_owned());
        Rows::default()
            .text("table_catalog", same(CATALOG))
            .text("table_schema", all().map(|name| name.schema.to_string()))
            .text("table_name", all().map(|name| name.table.to_string()))
            .text("table_type", same("BASE TABLE"))
            .text("is_insertable_into", same("YES"))
            .text("is_typed", same("NO"))
            .table()
    }

    fn schemata(&self) -> DfResult<Arc<dyn TableProvider>> {
        let snapshot = self.0.snapshot();
        let names =
            || snapshot.schemas.iter().map(String::as_str).chain(["information_schema", "pg_catalog"]);
        Rows::default()
            .text("catalog_name", names().map(|_| CATALOG.to_owned()))
            .text("schema_name", names().map(str::to_owned))
            .text("schema_owner", names().map(|_| None::<String>))
            .table()
    }

    fn columns(&self) -> DfResult<Arc<dyn TableProvider>> {
        let snapshot = self.0.snapshot();
        let all = || {
            let tables = snapshot.tables.values().map(|table| &table.schema);
            tables
                .flat_map(|table| table.columns.iter().enumerate().map(move |(i, column)| (table, i, column)))
        };
        let same = |value: Option<&'static str>| all().map(move |_| value.map(str::to_owned));
        let types = || all().map(|(_, _, column)| column.ty);
        let is_number = |ty: ColumnType| digits(ty).is_some();
        Rows::default()
            .text("table_catalog", same(Some(CATALOG)))
            .text("table_schema", all().map(|(table, _, _)| table.name.schema.to_string()))
            .text("table_name", all().map(|(table, _, _)| table.name.table.to_string()))
            .text("column_name", all().map(|(_, _, column)| column.name.to_string()))
            .int("ordinal_position", all().map(|(_, i, _)| i32::try_from(i + 1).ok()))
            .text("column_default", same(None))
            .text(
                "is_nullable",
                all().map(|(table, i, _)| if table.timestamp == Some(i) { "NO" } else { "YES" }.to_owned()),
            )
            .text("data_type", types().map(|ty| names(ty).0.to_owned()))
            .int("character_maximum_length", types().map(|_| None))
            .int("character_octet_length", types().map(|_| None))
            .int("numeric_precision", types().map(digits))
            .int("numeric_precision_radix", types().map(|ty| is_number(ty).then_some(2)))
            .int("numeric_scale", types().map(|ty| is_number(ty).then_some(0)))
            .int("datetime_precision", types().map(|ty| names(ty).1.starts_with("timestamp").then_some(6)))
            .text("character_set_name", same(None))
            .text("collation_name", same(None))
            .text("udt_catalog", same(Some(CATALOG)))
            .text("udt_schema", same(Some("pg_catalog")))
            .text("udt_name", types().map(|ty| names(ty).1.to_owned()))
            .text("is_identity", same(Some("NO")))
            .text("identity_generation", same(None))
            .text("is_generated", same(Some("NEVER")))
            .text("generation_expression", same(None))
            .text("is_updatable", same(Some("YES")))
            .table()
    }
}

/// The standard's name of a type, and PostgreSQL's own.
fn names(ty: ColumnType) -> (&'static str, &'static str) {
    match ty {
        ColumnType::Boolean => ("boolean", "bool"),
        ColumnType::Byte | ColumnType::Short => ("smallint", "int2"),
        ColumnType::Int => ("integer", "int4"),
        ColumnType::Long => ("bigint", "int8"),
        ColumnType::Float => ("real", "float4"),
        ColumnType::Double => ("double precision", "float8"),
        ColumnType::Symbol | ColumnType::Varchar => ("text", "text"),
        ColumnType::Timestamp | ColumnType::TimestampNs | ColumnType::Date => {
            ("timestamp without time zone", "timestamp")
        }
    }
}

/// Bits of a number.
fn digits(ty: ColumnType) -> Option<i32> {
    match ty {
        ColumnType::Byte | ColumnType::Short => Some(16),
        ColumnType::Int => Some(32),
        ColumnType::Long => Some(64),
        ColumnType::Float => Some(24),
        ColumnType::Double => Some(53),
        _ => None,
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        let filled = ["tables", "columns", "schemata"].into_iter();
        filled.chain(EMPTY.iter().map(|(name, _)| *name)).map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        match name {
            "tables" => self.tables().map(Some),
            "columns" => self.columns().map(Some),
            "schemata" => self.schemata().map(Some),
            _ => {
                let Some((_, columns)) = EMPTY.iter().find(|(known, _)| *known == name) else {
                    return Ok(None);
                };
                let field = |name: &str| match name {
                    "ordinal_position" | "position_in_unique_constraint" => {
                        Field::new(name, DataType::Int32, true)
                    }
                    _ => Field::new(name, DataType::Utf8, true),
                };
                let schema = Arc::new(Schema::new(columns.split(' ').map(field).collect::<Vec<_>>()));
                Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![]])?)))
            }
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
