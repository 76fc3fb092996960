//! Groups by symbols are made by the numbers of their texts.
//!
//! ```text
//! Aggregate host, hour ─► Projection text(host) ─ Aggregate number(host), hour
//! ```
//!
//! DataFusion groups by a dictionary through a copy of each row's text. The numbers are those of one query: the rule
//! makes a pair of functions for each column, which share what they know ([`Symbols`]).

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::AsArray,
    datatypes::{DataType, UInt32Type},
};
use datafusion::{
    common::{Column, Result, tree_node::Transformed},
    execution::memory_pool::MemoryPool,
    logical_expr::{
        Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Projection, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use crate::symbols::{Symbols, is_symbol};

/// Makes aggregates by symbols ones by numbers.
#[derive(Debug)]
pub(crate) struct SymbolsAsNumbers {
    pub(crate) pool: Arc<dyn MemoryPool>,
}

impl OptimizerRule for SymbolsAsNumbers {
    fn name(&self) -> &str {
        "symbols_as_numbers"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        let is_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        if aggregate.group_expr.iter().any(is_set) {
            return Ok(Transformed::no(plan));
        }
        let input = &aggregate.input;
        let mut texts = Vec::new();
        let mut keys = Vec::new();
        for key in &aggregate.group_expr {
            if !is_symbol(&key.get_type(input.schema())?) || key.column_refs().is_empty() {
                texts.push(None);
                keys.push(key.clone());
                continue;
            }
            let symbols = Arc::new(Symbols::new(&self.pool));
            keys.push(Number::of(&symbols).call(vec![key.clone().unalias()]));
            texts.push(Some(Text::of(&symbols)));
        }
        if texts.iter().all(Option::is_none) {
            return Ok(Transformed::no(plan));
        }
        let by_number =
            LogicalPlan::Aggregate(Aggregate::try_new(input.clone(), keys, aggregate.aggr_expr.clone())?);
        let outputs = by_number.schema().iter().zip(aggregate.schema.iter()).enumerate();
        let outputs = outputs.map(|(at, ((qualifier, field), (shown_qualifier, shown)))| {
            let column = Expr::Column(Column::from((qualifier, field)));
            match texts.get(at) {
                Some(Some(text)) => {
                    text.call(vec![column]).alias_qualified(shown_qualifier.cloned(), shown.name())
                }
                _ => column,
            }
        });
        let outputs = outputs.collect();
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(by_number))?)))
    }
}

macro_rules! by_identity {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                Arc::ptr_eq(&self.symbols, &other.symbols)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                Arc::as_ptr(&self.symbols).hash(state);
            }
        }

        impl $name {
            fn of(symbols: &Arc<Symbols>) -> ScalarUDF {
                let signature = Signature::any(1, Volatility::Immutable);
                ScalarUDF::from($name { symbols: symbols.clone(), signature })
            }
        }
    };
}

/// The number of a symbol's text.
#[derive(Debug)]
struct Number {
    symbols: Arc<Symbols>,
    signature: Signature,
}

/// The text that has a number.
#[derive(Debug)]
struct Text {
    symbols: Arc<Symbols>,
    signature: Signature,
}

by_identity!(Number);
by_identity!(Text);

impl ScalarUDFImpl for Number {
    fn name(&self) -> &str {
        "symbol_number"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(Arc::new(self.symbols.numbers(&column)?)))
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "symbol_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(self.symbols.texts(numbers.as_primitive::<UInt32Type>())?))
    }
}
