//! What theLook's people, places and clothes are called, and how often each occurs.

/// A country: its share of the users and its cities.
pub(super) struct Country {
    pub(super) name: &'static str,
    pub(super) weight: f64,
    /// `#` stands for a digit, `@` for a letter.
    pub(super) postal: &'static str,
    pub(super) cities: &'static [City],
}

/// A city: name, state, latitude, longitude, people in thousands.
pub(super) struct City(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) f64,
    pub(super) f64,
    pub(super) f64,
);

/// By population of the shop's markets; the weights sum to one.
pub(super) static COUNTRIES: [Country; 12] = [
    Country {
        name: "China",
        weight: 0.339,
        postal: "######",
        cities: &[
            City("Shanghai", "Shanghai", 31.2304, 121.4737, 24_870.0),
            City("Beijing", "Beijing", 39.9042, 116.4074, 21_890.0),
            City("Shenzhen", "Guangdong", 22.5431, 114.0579, 17_560.0),
            City("Guangzhou", "Guangdong", 23.1291, 113.2644, 15_310.0),
            City("Chengdu", "Sichuan", 30.5728, 104.0668, 15_420.0),
            City("Wuhan", "Hubei", 30.5928, 114.3055, 12_330.0),
            City("Hangzhou", "Zhejiang", 30.2741, 120.1551, 11_940.0),
            City("Nanjing", "Jiangsu", 32.0603, 118.7969, 9_310.0),
            City("Qingdao", "Shandong", 36.0671, 120.3826, 10_070.0),
            City("Changsha", "Hunan", 28.2282, 112.9388, 10_050.0),
        ],
    },
    Country {
        name: "United States",
        weight: 0.225,
        postal: "#####",
        cities: &[
            City("New York", "New York", 40.7128, -74.0060, 8_336.0),
            City("Los Angeles", "California", 34.0522, -118.2437, 3_822.0),
            City("Chicago", "Illinois", 41.8781, -87.6298, 2_665.0),
            City("Houston", "Texas", 29.7604, -95.3698, 2_302.0),
            City("Phoenix", "Arizona", 33.4484, -112.0740, 1_644.0),
            City("Philadelphia", "Pennsylvania", 39.9526, -75.1652, 1_567.0),
            City("San Antonio", "Texas", 29.4241, -98.4936, 1_472.0),
            City("San Diego", "California", 32.7157, -117.1611, 1_381.0),
            City("Seattle", "Washington", 47.6062, -122.3321, 749.0),
            City("Atlanta", "Georgia", 33.7490, -84.3880, 499.0),
        ],
    },
    Country {
        name: "Brasil",
        weight: 0.146,
        postal: "#####-###",
        cities: &[
            City("São Paulo", "São Paulo", -23.5505, -46.6333, 11_450.0),
            City("Rio de Janeiro", "Rio de Janeiro", -22.9068, -43.1729, 6_210.0),
            City("Brasília", "Distrito Federal", -15.7975, -47.8919, 2_820.0),
            City("Fortaleza", "Ceará", -3.7319, -38.5267, 2_430.0),
            City("Salvador", "Bahia", -12.9777, -38.5016, 2_420.0),
            City("Belo Horizonte", "Minas Gerais", -19.9167, -43.9345, 2_320.0),
            City("Manaus", "Amazonas", -3.1190, -60.0217, 2_060.0),
            City("Curitiba", "Paraná", -25.4284, -49.2733, 1_770.0),
        ],
    },
    Country {
        name: "South Korea",
        weight: 0.053,
        postal: "#####",
        cities: &[
            City("Seoul", "Seoul", 37.5665, 126.9780, 9_411.0),
            City("Busan", "Busan", 35.1796, 129.0756, 3_343.0),
            City("Incheon", "Incheon", 37.4563, 126.7052, 2_957.0),
            City("Daegu", "Daegu", 35.8714, 128.6014, 2_383.0),
            City("Daejeon", "Daejeon", 36.3504, 127.3845, 1_452.0),
        ],
    },
    Country {
        name: "France",
        weight: 0.047,
        postal: "#####",
        cities: &[
            City("Paris", "Île-de-France", 48.8566, 2.3522, 2_133.0),
            City("Marseille", "Provence-Alpes-Côte d'Azur", 43.2965, 5.3698, 873.0),
            City("Lyon", "Auvergne-Rhône-Alpes", 45.7640, 4.8357, 522.0),
            City("Toulouse", "Occitanie", 43.6047, 1.4442, 504.0),
            City("Nantes", "Pays de la Loire", 47.2184, -1.5536, 323.0),
        ],
    },
    Country {
        name: "United Kingdom",
        weight: 0.046,
        postal: "@@# #@@",
        cities: &[
            City("London", "England", 51.5074, -0.1278, 8_866.0),
            City("Birmingham", "England", 52.4862, -1.8904, 1_144.0),
            City("Glasgow", "Scotland", 55.8642, -4.2518, 635.0),
            City("Manchester", "England", 53.4808, -2.2426, 552.0),
            City("Cardiff", "Wales", 51.4816, -3.1791, 362.0),
        ],
    },
    Country {
        name: "Germany",
        weight: 0.042,
        postal: "#####",
        cities: &[
            City("Berlin", "Berlin", 52.5200, 13.4050, 3_755.0),
            City("Hamburg", "Hamburg", 53.5511, 9.9937, 1_892.0),
            City("München", "Bayern", 48.1351, 11.5820, 1_512.0),
            City("Köln", "Nordrhein-Westfalen", 50.9375, 6.9603, 1_084.0),
            City("Leipzig", "Sachsen", 51.3397, 12.3731, 616.0),
        ],
    },
    Country {
        name: "Spain",
        weight: 0.040,
        postal: "#####",
        cities: &[
            City("Madrid", "Comunidad de Madrid", 40.4168, -3.7038, 3_280.0),
            City("Barcelona", "Cataluña", 41.3874, 2.1686, 1_636.0),
            City("Valencia", "Comunidad Valenciana", 39.4699, -0.3763, 792.0),
            City("Sevilla", "Andalucía", 37.3891, -5.9845, 681.0),
        ],
    },
    Country {
        name: "Japan",
        weight: 0.025,
        postal: "###-####",
        cities: &[
            City("Tokyo", "Tokyo", 35.6762, 139.6503, 9_733.0),
            City("Yokohama", "Kanagawa", 35.4437, 139.6380, 3_772.0),
            City("Osaka", "Osaka", 34.6937, 135.5023, 2_753.0),
            City("Nagoya", "Aichi", 35.1815, 136.9066, 2_326.0),
            City("Sapporo", "Hokkaido", 43.0618, 141.3545, 1_959.0),
        ],
    },
    Country {
        name: "Australia",
        weight: 0.022,
        postal: "####",
        cities: &[
            City("Sydney", "New South Wales", -33.8688, 151.2093, 5_297.0),
            City("Melbourne", "Victoria", -37.8136, 144.9631, 5_031.0),
            City("Brisbane", "Queensland", -27.4698, 153.0251, 2_628.0),
            City("Perth", "Western Australia", -31.9523, 115.8613, 2_224.0),
        ],
    },
    Country {
        name: "Belgium",
        weight: 0.013,
        postal: "####",
        cities: &[
            City("Bruxelles", "Bruxelles-Capitale", 50.8503, 4.3517, 1_236.0),
            City("Antwerpen", "Vlaanderen", 51.2194, 4.4025, 536.0),
            City("Gent", "Vlaanderen", 51.0543, 3.7174, 267.0),
            City("Liège", "Wallonie", 50.6326, 5.5797, 195.0),
        ],
    },
    Country {
        name: "Poland",
        weight: 0.002,
        postal: "##-###",
        cities: &[
            City("Warszawa", "Mazowieckie", 52.2297, 21.0122, 1_862.0),
            City("Kraków", "Małopolskie", 50.0647, 19.9450, 803.0),
            City("Wrocław", "Dolnośląskie", 51.1079, 17.0385, 674.0),
        ],
    },
];

/// Words and how likely each is; the two are parallel.
pub(super) struct Weighted<const N: usize> {
    pub(super) words: [&'static str; N],
    pub(super) weights: [f64; N],
}

/// What brought a user to the shop.
pub(super) static USER_SOURCES: Weighted<5> = Weighted {
    words: ["Organic", "Facebook", "Search", "Email", "Display"],
    weights: [0.15, 0.06, 0.70, 0.05, 0.04],
};

/// What brought a session to the shop.
pub(super) static SESSION_SOURCES: Weighted<5> = Weighted {
    words: ["Email", "Adwords", "Organic", "YouTube", "Facebook"],
    weights: [0.45, 0.30, 0.05, 0.10, 0.10],
};

/// Browsers.
pub(super) static BROWSERS: Weighted<5> = Weighted {
    words: ["IE", "Chrome", "Safari", "Firefox", "Other"],
    weights: [0.05, 0.50, 0.20, 0.20, 0.05],
};

/// An order's status.
pub(super) static STATUSES: Weighted<5> = Weighted {
    words: ["Complete", "Cancelled", "Returned", "Processing", "Shipped"],
    weights: [0.25, 0.15, 0.10, 0.20, 0.30],
};

/// Orders of a user: index is their number.
pub(super) const ORDERS: [f64; 5] = [0.2, 0.5, 0.2, 0.05, 0.05];
/// Items of an order: index is their number less one.
pub(super) const ITEMS: [f64; 4] = [0.7, 0.2, 0.05, 0.05];
/// Unsold pieces of a product in stock: index is their number less one.
pub(super) const UNSOLD: [f64; 3] = [0.5, 0.3, 0.2];
/// Sessions without a user beside a user who buys: index is their number.
pub(super) const GHOSTS: [f64; 3] = [0.5, 0.3, 0.2];

/// Event types; [`crate::generate::shop`] names them by index.
pub(super) static EVENT_TYPES: [&str; 6] = ["home", "department", "product", "cart", "purchase", "cancel"];

/// Sexes, and the department that serves each at the same index.
pub(super) static GENDERS: [&str; 2] = ["M", "F"];
/// Departments.
pub(super) static DEPARTMENTS: [&str; 2] = ["Men", "Women"];

/// A kind of clothing: name, who wears it, the median price in dollars, and what one piece is called.
pub(super) struct Kind {
    pub(super) category: &'static str,
    /// Index into [`DEPARTMENTS`], or both.
    pub(super) department: Option<usize>,
    pub(super) median: f64,
    pub(super) weight: f64,
    pub(super) pieces: [&'static str; 3],
}

const fn kind(
    category: &'static str,
    department: Option<usize>,
    median: f64,
    weight: f64,
    pieces: [&'static str; 3],
) -> Kind {
    Kind { category, department, median, weight, pieces }
}

/// The 26 categories.
pub(super) static KINDS: [Kind; 26] = [
    kind("Accessories", None, 24.0, 1.6, ["Leather Belt", "Wool Scarf", "Canvas Cap"]),
    kind("Active", None, 38.0, 1.4, ["Running Shorts", "Training Tee", "Track Jacket"]),
    kind("Blazers & Jackets", Some(1), 88.0, 0.5, ["Fitted Blazer", "Cropped Jacket", "Tweed Blazer"]),
    kind("Clothing Sets", Some(1), 58.0, 0.2, ["Lounge Set", "Two-Piece Set", "Knit Set"]),
    kind("Dresses", Some(1), 74.0, 1.0, ["Wrap Dress", "Maxi Dress", "Shirt Dress"]),
    kind("Fashion Hoodies & Sweatshirts", None, 46.0, 1.7, ["Zip Hoodie", "Crew Sweatshirt", "Pullover"]),
    kind("Intimates", Some(1), 30.0, 2.2, ["Lace Bralette", "Soft Camisole", "Slip"]),
    kind("Jeans", None, 86.0, 1.9, ["Slim Jeans", "Straight Jeans", "Bootcut Jeans"]),
    kind("Jumpsuits & Rompers", Some(1), 44.0, 0.2, ["Belted Jumpsuit", "Linen Romper", "Playsuit"]),
    kind("Leggings", Some(1), 24.0, 0.6, ["High-Rise Leggings", "Ribbed Leggings", "Capri Leggings"]),
    kind("Maternity", Some(1), 46.0, 0.9, ["Nursing Top", "Maternity Jeans", "Nursing Dress"]),
    kind("Outerwear & Coats", None, 128.0, 1.4, ["Down Parka", "Trench Coat", "Rain Shell"]),
    kind("Pants", Some(0), 54.0, 1.0, ["Chinos", "Cargo Pants", "Pleated Trousers"]),
    kind("Pants & Capris", Some(1), 50.0, 0.8, ["Wide-Leg Pants", "Linen Capris", "Ankle Trousers"]),
    kind("Plus", Some(1), 36.0, 1.0, ["Plus Tunic", "Plus Blouse", "Plus Cardigan"]),
    kind("Shorts", None, 38.0, 1.6, ["Chino Shorts", "Denim Shorts", "Board Shorts"]),
    kind("Skirts", Some(1), 42.0, 0.5, ["Pencil Skirt", "Pleated Skirt", "Denim Skirt"]),
    kind("Sleep & Lounge", None, 36.0, 1.8, ["Flannel Pyjamas", "Terry Robe", "Lounge Pants"]),
    kind("Socks", Some(0), 14.0, 0.8, ["Crew Socks", "Wool Hikers", "Dress Socks"]),
    kind("Socks & Hosiery", Some(1), 13.0, 0.8, ["Sheer Tights", "Ankle Socks", "Knee-Highs"]),
    kind("Suits", Some(1), 104.0, 0.2, ["Skirt Suit", "Pant Suit", "Suit Jacket"]),
    kind("Suits & Sport Coats", Some(0), 110.0, 0.6, ["Two-Button Suit", "Sport Coat", "Suit Trousers"]),
    kind("Sweaters", None, 62.0, 1.7, ["Merino Sweater", "Cable Cardigan", "Half-Zip Knit"]),
    kind("Swim", None, 48.0, 1.7, ["Swim Trunks", "One-Piece", "Rash Guard"]),
    kind("Tops & Tees", None, 32.0, 1.9, ["Graphic Tee", "Henley", "Oxford Shirt"]),
    kind("Underwear", Some(0), 24.0, 1.0, ["Boxer Briefs", "Trunks", "Undershirt"]),
];

/// First halves of the brands' names, which are invented.
pub(super) static BRAND_STARTS: [&str; 24] = [
    "Alder", "Birch", "Calder", "Dune", "Ember", "Fjord", "Garnet", "Harbor", "Indigo", "Juniper", "Kestrel",
    "Linden", "Marlow", "North", "Orchard", "Pine", "Quarry", "Rowan", "Sable", "Thistle", "Umber", "Vale",
    "Willow", "Yarrow",
];
/// Second halves.
pub(super) static BRAND_ENDS: [&str; 15] = [
    "& Co",
    "Supply",
    "Studio",
    "Works",
    "Atelier",
    "Goods",
    "Thread",
    "Line",
    "House",
    "Mill",
    "Collective",
    "Outfitters",
    "Denim",
    "Sport",
    "Basics",
];

/// Words that tell two pieces of one kind apart.
pub(super) static LOOKS: [&str; 20] = [
    "Classic",
    "Relaxed",
    "Slim",
    "Vintage",
    "Washed",
    "Striped",
    "Printed",
    "Organic Cotton",
    "Lightweight",
    "Brushed",
    "Heritage",
    "Essential",
    "Premium",
    "Everyday",
    "Stretch",
    "Faded",
    "Checked",
    "Textured",
    "Recycled",
    "Signature",
];

/// Distribution centres: name, latitude, longitude; ids count from one.
pub(super) static DIST_CENTERS: [(&str, f64, f64); 10] = [
    ("Memphis TN", 35.1174, -89.9711),
    ("Chicago IL", 41.8369, -87.6847),
    ("Houston TX", 29.7604, -95.3698),
    ("Los Angeles CA", 34.05, -118.25),
    ("New Orleans LA", 29.95, -90.0667),
    ("Port Authority of New York/New Jersey NY/NJ", 40.634, -73.7834),
    ("Philadelphia PA", 39.95, -75.1667),
    ("Mobile AL", 30.6944, -88.0431),
    ("Charleston SC", 32.7833, -79.9333),
    ("Savannah GA", 32.0167, -81.1167),
];

/// First names, by the index of [`GENDERS`].
pub(super) static FIRST_NAMES: [[&str; 32]; 2] = [
    [
        "James", "Wei", "Lucas", "Min-jun", "Hugo", "Oliver", "Jonas", "Pablo", "Haruto", "Jack", "Arthur",
        "Jakub", "Michael", "Jun", "Gabriel", "Ji-ho", "Louis", "Harry", "Felix", "Mateo", "Ren", "Noah",
        "Liam", "Antoni", "David", "Hao", "Rafael", "Seo-jun", "Jules", "George", "Paul", "Diego",
    ],
    [
        "Mary",
        "Fang",
        "Ana",
        "Seo-yeon",
        "Emma",
        "Olivia",
        "Hannah",
        "Lucía",
        "Yui",
        "Charlotte",
        "Louise",
        "Zuzanna",
        "Jennifer",
        "Li",
        "Beatriz",
        "Ji-woo",
        "Chloé",
        "Amelia",
        "Mia",
        "Sofía",
        "Sakura",
        "Isla",
        "Marie",
        "Maja",
        "Linda",
        "Xiu",
        "Camila",
        "Ha-eun",
        "Léa",
        "Grace",
        "Lena",
        "Carmen",
    ],
];

/// Last names.
pub(super) static LAST_NAMES: [&str; 48] = [
    "Smith",
    "Wang",
    "Silva",
    "Kim",
    "Martin",
    "Jones",
    "Müller",
    "García",
    "Sato",
    "Wilson",
    "Peeters",
    "Kowalski",
    "Johnson",
    "Li",
    "Santos",
    "Lee",
    "Bernard",
    "Taylor",
    "Schmidt",
    "Fernández",
    "Suzuki",
    "Brown",
    "Janssens",
    "Nowak",
    "Williams",
    "Zhang",
    "Oliveira",
    "Park",
    "Dubois",
    "Davies",
    "Fischer",
    "López",
    "Tanaka",
    "Nguyen",
    "Maes",
    "Davis",
    "Liu",
    "Souza",
    "Choi",
    "Petit",
    "Evans",
    "Weber",
    "Martínez",
    "Watanabe",
    "White",
    "Chen",
    "Costa",
    "Clark",
];

/// Streets.
pub(super) static STREETS: [&str; 24] = [
    "Oak Street",
    "Main Street",
    "Station Road",
    "Park Avenue",
    "Mill Lane",
    "Church Street",
    "High Street",
    "Garden Road",
    "Lake View",
    "River Walk",
    "Hill Road",
    "Market Square",
    "Spring Street",
    "Cedar Avenue",
    "Maple Drive",
    "Bridge Street",
    "School Lane",
    "North Road",
    "South Street",
    "Harbour Way",
    "Orchard Close",
    "Meadow Lane",
    "King Street",
    "Queen Street",
];
