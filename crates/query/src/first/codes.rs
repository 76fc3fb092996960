//! Keys as numbers.
//!
//! The texts of a dictionary column are looked up once for each dictionary, not once for each row: batches of one row
//! group share theirs.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, AsArray, UInt32Array},
    compute::cast,
    datatypes::{DataType, Field, Int32Type, Schema},
};
use datafusion::{
    common::Result,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

/// The texts of one column that came.
#[derive(Default)]
struct Texts {
    codes: AHashMap<Box<str>, u32>,
    bytes: usize,
    /// The dictionary that came last, and the codes of its texts.
    last: Option<(ArrayRef, Vec<Option<u32>>)>,
}

impl Texts {
    fn encode(&mut self, column: &ArrayRef) -> Result<UInt32Array> {
        let column = column.as_dictionary::<Int32Type>();
        let values = column.values();
        let known = self.last.as_ref().is_some_and(|(last, _)| last.to_data().ptr_eq(&values.to_data()));
        if !known {
            let texts = cast(values, &DataType::Utf8)?;
            let codes = texts.as_string::<i32>().iter().map(|text| text.map(|text| self.code(text)));
            self.last = Some((values.clone(), codes.collect()));
        }
        let codes = self.last.as_ref().map_or(&[][..], |(_, codes)| codes);
        let code = |key: Option<i32>| codes.get(usize::try_from(key?).ok()?).copied().flatten();
        Ok(column.keys().iter().map(code).collect())
    }

    fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.codes.get(text) {
            return code;
        }
        // A column has no more texts than rows, and a batch's numbers are 32 bits wide.
        let code = self.codes.len() as u32;
        self.bytes += text.len() + size_of::<(Box<str>, u32)>() + 1;
        self.codes.insert(text.into(), code);
        code
    }
}

/// Numbers the keys that come, from 0 on. NULL is a key like any other.
pub(super) struct Codes {
    /// For each key column that is a dictionary of texts.
    texts: Vec<Option<Texts>>,
    groups: Box<dyn GroupValues>,
}

impl Codes {
    pub(super) fn new(types: &[DataType]) -> Result<Codes> {
        let is_dictionary = |ty: &DataType| {
            matches!(ty, DataType::Dictionary(key, value)
                if **key == DataType::Int32 && matches!(**value, DataType::Utf8 | DataType::LargeUtf8))
        };
        let fields = types.iter().enumerate().map(|(at, ty)| {
            let ty = if is_dictionary(ty) { DataType::UInt32 } else { ty.clone() };
            Field::new(at.to_string(), ty, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Codes {
            texts: types.iter().map(|ty| is_dictionary(ty).then(Texts::default)).collect(),
            groups: new_group_values(schema, &GroupOrdering::None)?,
        })
    }

    /// The number of each row's key.
    pub(super) fn number(&mut self, keys: &[ArrayRef], numbers: &mut Vec<usize>) -> Result<()> {
        let columns = keys.iter().zip(&mut self.texts).map(|(key, texts)| {
            Ok(match texts {
                Some(texts) => Arc::new(texts.encode(key)?) as ArrayRef,
                None => key.clone(),
            })
        });
        self.groups.intern(&columns.collect::<Result<Vec<_>>>()?, numbers)
    }

    /// Keys there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Bytes held, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.groups.size() + self.texts.iter().flatten().map(|texts| texts.bytes).sum::<usize>()
    }
}
