//! The shop's 29,120 products: made from a fixed seed, or read from the original's CSV.

use std::{collections::HashMap, sync::Arc};

use nowcast_model::{Batch, TableSchema};

use super::{
    facts::{BRAND_ENDS, BRAND_STARTS, DEPARTMENTS, DIST_CENTERS, KINDS, LOOKS},
    rng::Rng,
    rows::{Dictionary, Table, dictionary},
    schema::table,
};

/// Products of the catalogue that Nowcast makes.
pub const PRODUCTS: usize = 29_120;

/// Bounds what `--products` reads: the original has 29,120 rows.
const PRODUCTS_MAX: usize = 1_000_000;

/// The catalogue is the same for every `--seed`, as the original's file is.
const CATALOGUE_SEED: u64 = 0x7468_654c_6f6f_6b00;

/// A product; words are indices into the catalogue's dictionaries.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) id: i64,
    pub(super) cost: f64,
    pub(super) category: usize,
    pub(super) name: Box<str>,
    pub(super) brand: usize,
    pub(super) retail_price: f64,
    pub(super) department: usize,
    pub(super) sku: Box<str>,
    pub(super) distribution_center_id: i64,
}

/// All products. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(super) products: Arc<[Product]>,
    pub(super) categories: Dictionary,
    pub(super) brands: Dictionary,
    pub(super) departments: Dictionary,
    /// Products by department, as indices; the positions are those of [`DEPARTMENTS`]. Never empty.
    pub(super) of_department: Arc<[Vec<u32>; 2]>,
    /// Categories, brands and departments as they stand in a `uri`.
    pub(super) slugs: Arc<[Vec<String>; 3]>,
}

/// Why a file of products cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct ProductsError {
    /// Counted from one.
    pub line: usize,
    /// The field of the line, counted from one.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub cause: String,
}

/// Words in the order in which they came, and where each stands.
#[derive(Default)]
struct Words {
    list: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
}

impl Words {
    fn add(&mut self, word: &str) -> usize {
        if let Some(&index) = self.index.get(word) {
            return index;
        }
        let word: Arc<str> = word.into();
        self.list.push(Arc::clone(&word));
        self.index.insert(word, self.list.len() - 1);
        self.list.len() - 1
    }
}

impl Catalogue {
    /// The catalogue of theLook as Nowcast makes it: the same rows every time.
    pub fn generate() -> Catalogue {
        let mut rng = Rng::new(CATALOGUE_SEED, 0);
        let brands: Vec<String> = BRAND_STARTS
            .iter()
            .flat_map(|start| BRAND_ENDS.iter().map(move |end| format!("{start} {end}")))
            .collect();
        // A few brands sell most of the pieces, and some are dear.
        let levels: Vec<f64> = brands.iter().map(|_| (0.28 * rng.normal()).exp()).collect();
        let weights: Vec<f64> = KINDS.iter().map(|kind| kind.weight).collect();
        let products = (1..=PRODUCTS as i64)
            .map(|id| {
                let category = rng.weighted(&weights);
                let kind = &KINDS[category];
                let brand = (rng.unit() * rng.unit() * brands.len() as f64) as usize;
                let department = kind.department.unwrap_or_else(|| rng.below(2) as usize);
                let price = (kind.median * levels[brand] * (0.52 * rng.normal()).exp()).clamp(1.5, 999.0);
                let cents = [0.0, 0.5, 0.95, 0.99][rng.weighted(&[0.35, 0.1, 0.15, 0.4])];
                let retail_price = ((price.floor() + cents) * 100.0).round() / 100.0;
                let cost = (retail_price * (0.35 + 0.25 * rng.unit()) * 100.0).round() / 100.0;
                let (look, piece) = (rng.one(&LOOKS), rng.one(&kind.pieces));
                let name = format!("{} {}'s {look} {piece}", brands[brand], DEPARTMENTS[department]);
                Product {
                    id,
                    cost,
                    category,
                    name: name.into(),
                    brand,
                    retail_price,
                    department,
                    sku: format!("{:032X}", rng.uuid()).into(),
                    distribution_center_id: rng.between(1, DIST_CENTERS.len() as i64),
                }
            })
            .collect();
        let categories: Vec<&str> = KINDS.iter().map(|kind| kind.category).collect();
        let brands: Vec<&str> = brands.iter().map(String::as_str).collect();
        Catalogue::of(products, dictionary(&categories), dictionary(&brands))
    }

    fn of(products: Vec<Product>, categories: Dictionary, brands: Dictionary) -> Catalogue {
        let of_department = [0, 1].map(|department| {
            let indices = 0u32..;
            let served = |(_, product): &(u32, &Product)| product.department == department;
            indices.zip(&products).filter(served).map(|(index, _)| index).collect()
        });
        let slug = |word: &str| word.to_lowercase().replace(' ', "");
        let slugs = |words: &[Arc<str>]| words.iter().map(|word| slug(word)).collect();
        let departments = dictionary(&DEPARTMENTS);
        Catalogue {
            slugs: Arc::new([slugs(&categories), slugs(&brands), slugs(&departments)]),
            products: products.into(),
            categories,
            brands,
            departments,
            of_department: Arc::new(of_department),
        }
    }

    /// Reads the original's CSV: a header that names `id`, `cost`, `category`, `name`, `brand`,
    /// `retail_price`, `department`, `sku` and `distribution_center_id` in any order, then a product a line.
    ///
    /// # Errors
    /// The first thing that is wrong, by line and field.
    pub fn from_csv(text: &str) -> Result<Catalogue, ProductsError> {
        const COLUMNS: [&str; 9] = [
            "id",
            "cost",
            "category",
            "name",
            "brand",
            "retail_price",
            "department",
            "sku",
            "distribution_center_id",
        ];
        let wrong = |line, column, cause: String| ProductsError { line, column, cause };
        let mut records = Csv { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
        let Some((_, header)) = records.next().transpose()? else {
            return Err(wrong(1, 1, "the file is empty; expected a header and products".into()));
        };
        let mut places = [0usize; 9];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            *place = header.iter().position(|field| field.trim() == name).ok_or_else(|| {
                wrong(1, 1, format!("the header has no {name:?}; expected {}", COLUMNS.join(",")))
            })?;
        }
        let (mut categories, mut brands, mut products) = (Words::default(), Words::default(), Vec::new());
        while let Some((line, fields)) = records.next().transpose()? {
            if fields.len() != header.len() {
                let cause = format!("{} fields, but the header has {}", fields.len(), header.len());
                return Err(wrong(line, fields.len().min(header.len()), cause));
            }
            if products.len() == PRODUCTS_MAX {
                return Err(wrong(line, 1, format!("more than {PRODUCTS_MAX} products")));
            }
            let field = |index: usize| fields[places[index]].as_str();
            let number = |index: usize| {
                let parsed = field(index).trim().parse::<f64>().ok().filter(|n| n.is_finite());
                let cause = || format!("{} is {:?}; expected a number", COLUMNS[index], field(index));
                parsed.ok_or_else(|| wrong(line, places[index] + 1, cause()))
            };
            let integer = |index: usize| {
                let cause = || format!("{} is {:?}; expected an integer", COLUMNS[index], field(index));
                field(index).trim().parse::<i64>().map_err(|_| wrong(line, places[index] + 1, cause()))
            };
            let department = DEPARTMENTS.iter().position(|&d| d == field(6)).ok_or_else(|| {
                wrong(line, places[6] + 1, format!("department is {:?}; expected Men or Women", field(6)))
            })?;
            products.push(Product {
                id: integer(0)?,
                cost: number(1)?,
                category: categories.add(field(2)),
                name: field(3).into(),
                brand: brands.add(field(4)),
                retail_price: number(5)?,
                department,
                sku: field(7).into(),
                distribution_center_id: integer(8)?,
            });
        }
        for (index, department) in DEPARTMENTS.iter().enumerate() {
            if !products.iter().any(|product| product.department == index) {
                return Err(wrong(1, 1, format!("no product of the department {department:?}")));
            }
        }
        Ok(Catalogue::of(products, categories.list.into(), brands.list.into()))
    }

    /// Products.
    pub fn len(&self) -> usize {
        self.products.len()
    }

    /// True if there are no products; never, as both departments sell something.
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// The rows of `products` and of `dist_centers`. `schemas` are those of [`super::schemas`].
    pub fn batches(&self, schemas: &[TableSchema]) -> Vec<Batch> {
        let words = [self.categories.clone(), self.brands.clone(), self.departments.clone()];
        let mut products = Table::new(schemas[table::PRODUCTS].clone(), &words);
        for product in self.products.iter() {
            products
                .long(product.id)
                .double(product.cost)
                .symbol(product.category)
                .text(&product.name)
                .symbol(product.brand)
                .double(product.retail_price)
                .symbol(product.department)
                .text(&product.sku)
                .long(product.distribution_center_id);
        }
        let mut centers = Table::new(schemas[table::DIST_CENTERS].clone(), &[]);
        for (id, (name, latitude, longitude)) in (1..).zip(DIST_CENTERS) {
            centers.long(id).text(name).double(latitude).double(longitude);
        }
        [products.take(), centers.take()].into_iter().flatten().collect()
    }
}

/// Records of a CSV text (RFC 4180), with the line on which each begins. Skips empty lines.
struct Csv<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Csv<'_> {
    type Item = Result<(usize, Vec<String>), ProductsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let (begin, mut fields) = (self.line, Vec::new());
        loop {
            let mut field = String::new();
            if let Some(mut rest) = self.rest.strip_prefix('"') {
                loop {
                    let Some(quote) = rest.find('"') else {
                        self.rest = "";
                        let cause = "the quotation mark is never closed".to_owned();
                        return Some(Err(ProductsError { line: begin, column: fields.len() + 1, cause }));
                    };
                    field.push_str(&rest[..quote]);
                    rest = &rest[quote + 1..];
                    match rest.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            rest = more;
                        }
                        None => break,
                    }
                }
                self.line += field.matches('\n').count();
                self.rest = rest;
            }
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            field.push_str(self.rest[..end].trim_end_matches('\r'));
            fields.push(field);
            let separator = self.rest.as_bytes().get(end).copied();
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            match separator {
                Some(b',') => {}
                Some(_) => {
                    self.line += 1;
                    return Some(Ok((begin, fields)));
                }
                None => return Some(Ok((begin, fields))),
            }
        }
    }
}
