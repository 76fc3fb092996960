//! Functions of PostgreSQL's catalogue that have one answer here: there are no owners, comments, views,
//! indexes and routines to tell of.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    datatypes::{DataType, Field, Int64Type},
};
use datafusion::{
    common::cast::as_string_array,
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

const TRUE: [&str; 8] = [
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "has_column_privilege",
    "has_function_privilege",
];

const NO_TEXT: [&str; 17] = [
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
    "pg_advisory_unlock_all",
    "json_build_object",
    "jsonb_build_object",
];

/// Adds them to a session.
pub(super) fn register(session: &SessionContext) {
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
    constant(session, "pg_table_size", ScalarValue::Int64(Some(0)));
    constant(session, "pg_indexes_size", ScalarValue::Int64(Some(0)));
    constant(session, "pg_database_size", ScalarValue::Int64(Some(0)));
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
