//! Functions of PostgreSQL's catalogue that have one answer here: there are no owners, comments, views,
//! indexes and routines to tell of.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Int64Type},
};
use datafusion::{
    common::{cast::as_string_array, exec_err},
    error::Result as DfResult,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
        create_udf,
    },
    prelude::SessionContext,
    scalar::ScalarValue,
};

/// What `version()` says: clients look for the PostgreSQL version that they may assume.
const VERSION: &str = concat!("PostgreSQL 16.6 (Nowcast ", env!("CARGO_PKG_VERSION"), ")");

const TRUE: [&str; 13] = [
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "has_column_privilege",
    "has_function_privilege",
    "has_sequence_privilege",
    "has_type_privilege",
    "has_tablespace_privilege",
    "has_foreign_data_wrapper_privilege",
    "pg_has_role",
];

const NO_TEXT: [&str; 18] = [
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_functiondef",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_serial_sequence",
    "pg_tablespace_location",
    "inet_server_addr",
    "inet_client_addr",
    "pg_advisory_unlock_all",
    "json_build_object",
    "jsonb_build_object",
];

/// Adds them to a session.
pub(super) fn register(session: &SessionContext, started_us: i64) {
    let text = |value: Option<&str>| ScalarValue::Utf8(value.map(str::to_owned));
    for name in TRUE {
        constant(session, name, ScalarValue::Boolean(Some(true)));
    }
    for name in NO_TEXT {
        constant(session, name, text(None));
    }
    constant(session, "version", text(Some(VERSION)));
    constant(session, "pg_is_in_recovery", ScalarValue::Boolean(Some(false)));
    constant(session, "to_regtype", ScalarValue::Int32(None));
    constant(session, "generate_subscripts", ScalarValue::Int32(None));
    let key = vec![Field::new("x", DataType::Int16, true), Field::new("n", DataType::Int32, true)];
    if let Ok(none) = ScalarValue::try_new_null(&DataType::Struct(key.into())) {
        constant(session, "_pg_expandarray", none);
    }
    for name in
        ["pg_table_size", "pg_indexes_size", "pg_relation_size", "pg_total_relation_size", "pg_database_size"]
    {
        constant(session, name, ScalarValue::Int64(Some(0)));
    }
    for name in ["inet_server_port", "inet_client_port"] {
        constant(session, name, ScalarValue::Int32(None));
    }
    constant(session, "pg_my_temp_schema", ScalarValue::Int32(Some(0)));
    for name in ["pg_client_encoding", "pg_encoding_to_char"] {
        constant(session, name, text(Some("UTF8")));
    }
    let started = ScalarValue::TimestampMicrosecond(Some(started_us), Some("+00:00".into()));
    for name in ["pg_postmaster_start_time", "pg_conf_load_time"] {
        constant(session, name, started.clone());
    }
    session
        .register_udf(ScalarUDF::from(Format { signature: Signature::variadic_any(Volatility::Immutable) }));
    text_function(session, "pg_size_pretty", DataType::Int64, |sizes| {
        sizes
            .as_primitive::<Int64Type>()
            .iter()
            .map(|size| size.map(|size| format!("{size} bytes")))
            .collect()
    });
    text_function(session, "quote_literal", DataType::Utf8, |texts| {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        as_string_array(texts).map(|texts| texts.iter().map(|t| t.map(quoted)).collect()).unwrap_or_default()
    });
}

fn constant(session: &SessionContext, name: &'static str, value: ScalarValue) {
    let any = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
    session.register_udf(ScalarUDF::from(Constant { name, value, signature: any }));
}

fn text_function(
    session: &SessionContext,
    name: &str,
    argument: DataType,
    run: impl Fn(&ArrayRef) -> Vec<Option<String>> + Send + Sync + 'static,
) {
    let run = move |args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let texts = args.first().map(&run).unwrap_or_default();
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(texts))))
    };
    session.register_udf(create_udf(
        name,
        vec![argument],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(run),
    ));
}

/// `format('%I.%I', schema, name)`: texts put into a text, as identifiers and literals where it says so.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&args.args)?
            .iter()
            .map(|array| cast(array, &DataType::Utf8))
            .collect::<Result<Vec<_>, _>>()?;
        let texts = texts.iter().map(|array| as_string_array(array)).collect::<DfResult<Vec<_>>>()?;
        let Some((forms, values)) = texts.split_first() else {
            return exec_err!("the function 'format' takes at least 1 argument");
        };
        let row = |row: usize| {
            let form = forms.is_valid(row).then(|| forms.value(row))?;
            let value = |at: usize| values.get(at).filter(|v| v.is_valid(row)).map(|v| v.value(row));
            Some(formatted(form, value))
        };
        let rows = forms.len();
        Ok(ColumnarValue::Array(Arc::new((0..rows).map(row).collect::<StringArray>())))
    }
}

fn formatted<'a>(form: &str, value: impl Fn(usize) -> Option<&'a str>) -> String {
    let (mut out, mut at) = (String::with_capacity(form.len()), 0);
    let mut signs = form.chars();
    while let Some(sign) = signs.next() {
        if sign != '%' {
            out.push(sign);
            continue;
        }
        let kind = signs.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        match (kind, value(at)) {
            (Some('I'), Some(text)) => out.push_str(&as_identifier(text)),
            (Some('L'), Some(text)) => out.push_str(&format!("'{}'", text.replace('\'', "''"))),
            (Some('L'), None) => out.push_str("NULL"),
            (_, text) => out.push_str(text.unwrap_or_default()),
        }
        at += 1;
    }
    out
}

/// A name, in quotes if it needs them.
fn as_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A function that answers the same whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}
