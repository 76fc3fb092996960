//! The shop: what a user does from sign-up to purchase, as rows.
//!
//! One visit makes one user and all that belongs to it. A purchase happens at the time of the visit; what led
//! to it carries its own earlier time: the sessions end with the purchase and began up to four hours before,
//! the stock came up to 60 days before, the user signed up since 2019. Shipping, delivery and return lie
//! ahead. All times are offsets from the visit's, and each user draws from its own stream of the seed, so
//! that a seed makes the same rows whatever the clock says and however many users are made at once.

use super::{
    arrivals::Arrivals,
    catalogue::{Catalogue, Product},
    facts::{
        BROWSERS, COUNTRIES, City, EVENT_TYPES, FIRST_NAMES, GENDERS, GHOSTS, ITEMS, LAST_NAMES, ORDERS,
        SESSION_SOURCES, STATUSES, STREETS, UNSOLD, USER_SOURCES,
    },
    rng::Rng,
    rows::{Dictionary, Table, dictionary, push_number},
    schema::{schemas, table},
};
use nowcast_model::{Batch, TableName};

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// 2019-01-01, the day the shop opened.
const OPENED_US: i64 = 1_546_300_800 * SECOND_US;
/// Between two events of a session.
const GAP_MAX_US: i64 = 180 * SECOND_US;
/// From the first event of a session to now.
const LEAD_MAX_US: i64 = 4 * 3_600 * SECOND_US;
/// A session's longest path: a product's page, its department and the cart for four items, then the purchase.
const PATH_MAX: i64 = 13;
/// The stock of a product came at most so long before it was sold.
const STOCK_MAX_US: i64 = 60 * DAY_US;
/// A session must fit between its lead and now.
const _: () = assert!(PATH_MAX * GAP_MAX_US < LEAD_MAX_US);

/// Users whose rows become one record when history is made: about 3 MiB.
const HISTORY_USERS: usize = 2_000;

// Indices into `facts::EVENT_TYPES`.
const HOME: usize = 0;
const DEPARTMENT: usize = 1;
const PRODUCT: usize = 2;
const CART: usize = 3;
const PURCHASE: usize = 4;
const CANCEL: usize = 5;

/// What those do who never buy: cancelled browsing, abandoned cart, viewed product, viewed department.
const GHOST_PATHS: [&[usize]; 4] = [
    &[HOME, DEPARTMENT, PRODUCT, CART, CANCEL],
    &[HOME, DEPARTMENT, PRODUCT, CART],
    &[HOME, DEPARTMENT, PRODUCT],
    &[HOME, DEPARTMENT],
];

/// When an order was shipped, delivered and returned, in microseconds; absent where it was not.
#[derive(Clone, Copy)]
struct Journey {
    shipped: Option<i64>,
    delivered: Option<i64>,
    returned: Option<i64>,
}

impl Journey {
    /// Shipped, Complete and Returned orders left; Complete and Returned ones arrived; Returned ones came back.
    fn new(status: usize, ordered_us: i64, rng: &mut Rng) -> Journey {
        let [to_ship, to_deliver, to_return] = [3, 5, 3].map(|days| rng.between(0, days * DAY_US));
        let (complete, returned, shipped) = (status == 0, status == 2, status == 4);
        let shipped = (complete || returned || shipped).then_some(ordered_us + to_ship);
        let delivered = shipped.filter(|_| complete || returned).map(|us| us + to_deliver);
        Journey { shipped, delivered, returned: delivered.filter(|_| returned).map(|us| us + to_return) }
    }
}

/// Who is at the keyboard, as far as a session's events tell.
struct Visitor<'a> {
    user: Option<u128>,
    city: &'a City,
    postal_code: &'a str,
    ip: [u8; 4],
}

/// Makes users and what they do.
pub struct Shop {
    seed: u64,
    users: u64,
    catalogue: Catalogue,
    country_weights: Vec<f64>,
    city_weights: Vec<Vec<f64>>,
    user_rows: Table,
    orders: Table,
    items: Table,
    stock: Table,
    events: Table,
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shop").field("seed", &self.seed).field("users", &self.users).finish_non_exhaustive()
    }
}

impl Shop {
    /// A shop whose tables are in the schema `public`.
    pub fn new(seed: u64, catalogue: Catalogue) -> Shop {
        Shop::in_schema(TableName::PUBLIC, seed, catalogue)
    }

    /// A shop whose tables are in `schema`.
    pub fn in_schema(schema: &str, seed: u64, catalogue: Catalogue) -> Shop {
        let mut schemas = schemas(schema, None).into_iter().skip(table::USERS);
        let mut table = |words: &[Dictionary]| {
            Table::new(schemas.next().expect("invariant: seven tables, five of them here"), words)
        };
        let names: Vec<&str> = COUNTRIES.iter().map(|country| country.name).collect();
        let (genders, statuses) = (dictionary(&GENDERS), dictionary(&STATUSES.words));
        let stock = [catalogue.categories.clone(), catalogue.brands.clone(), catalogue.departments.clone()];
        let events =
            [dictionary(&BROWSERS.words), dictionary(&SESSION_SOURCES.words), dictionary(&EVENT_TYPES)];
        Shop {
            seed,
            users: 0,
            country_weights: COUNTRIES.iter().map(|country| country.weight).collect(),
            city_weights: COUNTRIES.iter().map(|c| c.cities.iter().map(|city| city.4).collect()).collect(),
            user_rows: table(&[genders.clone(), dictionary(&names), dictionary(&USER_SOURCES.words)]),
            orders: table(&[statuses.clone(), genders]),
            items: table(&[statuses]),
            stock: table(&stock),
            events: table(&events),
            catalogue,
        }
    }

    /// Goes on after `users` users of the same seed, so that a restarted generator repeats no id.
    #[must_use]
    pub fn after_users(mut self, users: u64) -> Shop {
        self.users = users;
        self
    }

    /// The products.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Users made so far, those of [`Shop::after_users`] included.
    pub fn users(&self) -> u64 {
        self.users
    }

    /// One user who comes at `now_us`, and what that user does: a batch for each table that gets rows,
    /// `users` first.
    pub fn next(&mut self, now_us: i64) -> Vec<Batch> {
        self.visit(now_us);
        self.take()
    }

    /// What happened between two times at `users_per_second`: several users to an item, each item a record.
    pub fn history(
        &mut self,
        from_us: i64,
        to_us: i64,
        users_per_second: f64,
    ) -> impl Iterator<Item = Vec<Batch>> + '_ {
        let mut arrivals = Arrivals::new(self.seed, users_per_second, from_us);
        std::iter::from_fn(move || {
            while self.user_rows.len() < HISTORY_USERS
                && let Some(arrival_us) = arrivals.next_until(to_us)
            {
                self.visit(arrival_us);
            }
            let batches = self.take();
            (!batches.is_empty()).then_some(batches)
        })
    }

    /// The rows made since the last time; a batch for each table that has some, in the order `users`,
    /// `orders`, `order_items`, `inventory_items`, `events`.
    pub fn take(&mut self) -> Vec<Batch> {
        let tables =
            [&mut self.user_rows, &mut self.orders, &mut self.items, &mut self.stock, &mut self.events];
        tables.into_iter().filter_map(Table::take).collect()
    }

    /// Adds one user who comes at `now_us` to the rows that [`Shop::take`] hands out.
    pub fn visit(&mut self, now_us: i64) {
        let mut rng = Rng::new(self.seed, self.users);
        self.users += 1;
        let rng = &mut rng;
        let user = rng.uuid();
        let gender = rng.below(2) as usize;
        let place = rng.weighted(&self.country_weights);
        let country = &COUNTRIES[place];
        let city = &country.cities[rng.weighted(&self.city_weights[place])];
        let postal_code = postal_code(country.postal, rng);
        self.sign_up(rng, now_us, user, gender, place, city, &postal_code);

        let visitor = Visitor { user: Some(user), city, postal_code: &postal_code, ip: ip(rng) };
        let orders = rng.weighted(&ORDERS) as i64;
        for order in 0..orders {
            // A millisecond apart, so that the orders of one user have an order.
            self.order(rng, &visitor, gender, now_us - (orders - 1 - order) * 1_000);
        }
        if orders > 0 {
            for _ in 0..rng.weighted(&GHOSTS) {
                self.ghost(rng, now_us);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one row's cells")]
    fn sign_up(
        &mut self,
        rng: &mut Rng,
        now_us: i64,
        user: u128,
        gender: usize,
        place: usize,
        city: &City,
        postal_code: &str,
    ) {
        let (first, last) = (*rng.one(&FIRST_NAMES[gender]), *rng.one(&LAST_NAMES));
        let host = rng.one(&["example.com", "example.net", "example.org"]);
        let email_number = rng.below(1_000);
        let (age, house, street) = (rng.between(12, 70), 1 + rng.below(999), *rng.one(&STREETS));
        let mut near = |degrees: f64| ((degrees + (rng.unit() - 0.5) * 0.2) * 1e4).round() / 1e4;
        let (latitude, longitude) = (near(city.2), near(city.3));
        let source = rng.weighted(&USER_SOURCES.weights);
        let since_us = ((now_us - OPENED_US).max(0) as f64 * rng.unit()) as i64;
        self.user_rows
            .uuid(user)
            .text(first)
            .text(last)
            .text_with(|text| {
                let plain = |name: &'static str| name.chars().filter(char::is_ascii_alphanumeric);
                text.extend(plain(first).chain(['.']).chain(plain(last)).map(|c| c.to_ascii_lowercase()));
                push_number(text, email_number);
                text.push('@');
                text.push_str(host);
            })
            .long(age)
            .symbol(gender)
            .text(city.1)
            .text_with(|text| {
                push_number(text, house);
                text.push(' ');
                text.push_str(street);
            })
            .text(postal_code)
            .text(city.0)
            .symbol(place)
            .double(latitude)
            .double(longitude)
            .symbol(source)
            .time(now_us - since_us);
    }

    fn order(&mut self, rng: &mut Rng, visitor: &Visitor<'_>, gender: usize, ordered_us: i64) {
        let Some(user) = visitor.user else { return };
        let order = rng.uuid();
        let status = rng.weighted(&STATUSES.weights);
        let count = 1 + rng.weighted(&ITEMS);
        let journey = Journey::new(status, ordered_us, rng);
        self.orders
            .uuid(order)
            .uuid(user)
            .symbol(status)
            .symbol(gender)
            .time(ordered_us)
            .time(journey.returned)
            .time(journey.shipped)
            .time(journey.delivered)
            .long(count as i64);

        let catalogue = self.catalogue.clone();
        let mut bought = [0u32; ITEMS.len()];
        for product in &mut bought[..count] {
            *product = *rng.one(&catalogue.of_department[gender]);
        }
        let mut path = [(HOME, 0u32); PATH_MAX as usize];
        let steps = purchase_path(&bought[..count], &mut path);
        for &index in &bought[..count] {
            let product = &catalogue.products[index as usize];
            let (item, piece) = (rng.uuid(), rng.uuid());
            self.items
                .uuid(item)
                .uuid(order)
                .uuid(user)
                .long(product.id)
                .uuid(piece)
                .symbol(status)
                .time(ordered_us)
                .time(journey.shipped)
                .time(journey.delivered)
                .time(journey.returned)
                .double(product.retail_price);
            self.stock(rng, piece, product, ordered_us, Some(ordered_us));
            for _ in 0..=rng.weighted(&UNSOLD) {
                let unsold = rng.uuid();
                self.stock(rng, unsold, product, ordered_us, None);
            }
            self.session(rng, visitor, &path[..steps], ordered_us);
        }
    }

    fn stock(&mut self, rng: &mut Rng, id: u128, product: &Product, now_us: i64, sold_us: Option<i64>) {
        self.stock
            .uuid(id)
            .long(product.id)
            .time(now_us - rng.between(0, STOCK_MAX_US))
            .time(sold_us)
            .double(product.cost)
            .symbol(product.category)
            .text(&product.name)
            .symbol(product.brand)
            .double(product.retail_price)
            .symbol(product.department)
            .text(&product.sku)
            .long(product.distribution_center_id);
    }

    /// A session that ends at `end_us`: event types with the product that each is about.
    fn session(&mut self, rng: &mut Rng, visitor: &Visitor<'_>, path: &[(usize, u32)], end_us: i64) {
        let session = rng.uuid();
        let browser = rng.weighted(&BROWSERS.weights);
        let source = rng.weighted(&SESSION_SOURCES.weights);
        let mut gaps = [0i64; PATH_MAX as usize];
        for gap in &mut gaps[..path.len() - 1] {
            *gap = rng.between(SECOND_US, GAP_MAX_US);
        }
        let mut at_us = end_us - gaps.iter().sum::<i64>();
        let catalogue = self.catalogue.clone();
        for ((sequence, &(event, index)), gap) in (1..).zip(path).zip(gaps) {
            let id = rng.uuid();
            self.events
                .uuid(id)
                .uuid_or_null(visitor.user)
                .long(sequence)
                .uuid(session)
                .time(at_us)
                .text_with(|text| {
                    for (place, part) in visitor.ip.into_iter().enumerate() {
                        if place > 0 {
                            text.push('.');
                        }
                        push_number(text, part.into());
                    }
                })
                .text(visitor.city.0)
                .text(visitor.city.1)
                .text(visitor.postal_code)
                .symbol(browser)
                .symbol(source)
                .text_with(|text| push_uri(text, event, &catalogue, index))
                .symbol(event);
            at_us += gap;
        }
    }

    /// A session without a user, which ended within the last hours.
    fn ghost(&mut self, rng: &mut Rng, now_us: i64) {
        let place = rng.weighted(&self.country_weights);
        let country = &COUNTRIES[place];
        let city = &country.cities[rng.weighted(&self.city_weights[place])];
        let postal_code = postal_code(country.postal, rng);
        let visitor = Visitor { user: None, city, postal_code: &postal_code, ip: ip(rng) };
        let product = rng.below(self.catalogue.len() as u64) as u32;
        let path: Vec<(usize, u32)> = rng.one(&GHOST_PATHS).iter().map(|&event| (event, product)).collect();
        let longest_us = path.len() as i64 * GAP_MAX_US;
        let end_us = now_us - rng.between(0, LEAD_MAX_US - longest_us);
        self.session(rng, &visitor, &path, end_us);
    }
}

/// The way to a purchase: home, department, product, cart for one item; department, product and cart for each
/// of several; then the purchase. Returns the steps written to `path`.
fn purchase_path(bought: &[u32], path: &mut [(usize, u32); PATH_MAX as usize]) -> usize {
    let mut steps = 0;
    let mut step = |event, product| {
        path[steps] = (event, product);
        steps += 1;
    };
    if let [only] = bought {
        step(HOME, *only);
    }
    for &product in bought {
        for event in [DEPARTMENT, PRODUCT, CART] {
            step(event, product);
        }
    }
    step(PURCHASE, bought[bought.len() - 1]);
    steps
}

fn push_uri(text: &mut String, event: usize, catalogue: &Catalogue, index: u32) {
    let product = &catalogue.products[index as usize];
    let [categories, brands, departments] = &*catalogue.slugs;
    match event {
        PRODUCT => {
            text.push_str("/product/");
            push_number(text, product.id.unsigned_abs());
        }
        DEPARTMENT => {
            text.push_str("/department/");
            text.push_str(&departments[product.department]);
            text.push_str("/category/");
            text.push_str(&categories[product.category]);
            text.push_str("/brand/");
            text.push_str(&brands[product.brand]);
        }
        _ => {
            text.push('/');
            text.push_str(EVENT_TYPES[event]);
        }
    }
}

fn postal_code(pattern: &str, rng: &mut Rng) -> String {
    let mut digit = |letter| match letter {
        '#' => char::from(b'0' + rng.below(10) as u8),
        '@' => char::from(b'A' + rng.below(26) as u8),
        other => other,
    };
    pattern.chars().map(&mut digit).collect()
}

fn ip(rng: &mut Rng) -> [u8; 4] {
    let [_, b, c, d] = (rng.bits() as u32).to_be_bytes();
    // 1 to 223 less the private 10 and the loopback 127.
    let a = match 1 + rng.below(221) as u8 {
        a @ 1..=9 => a,
        a @ 10..=125 => a + 1,
        a => a + 2,
    };
    [a, b, c, d]
}

/// The first cell of the first row: the id of the user that [`Shop::next`] made.
pub(super) fn first_id(batch: &Batch) -> String {
    use arrow::array::{Array, AsArray};
    let ids = batch.rows.column(0).as_string_opt::<i32>();
    ids.filter(|ids| !ids.is_empty()).map(|ids| ids.value(0).to_owned()).unwrap_or_default()
}
