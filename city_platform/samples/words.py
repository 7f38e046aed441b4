"""The words that sample rows are composed of. Everything is made up, except Vancouver's geography.

Plain tuples and nothing else: what is drawn from them, and how often, stands in the generators.
"""

GIVEN_NAMES = (
    "Aiko", "Alejandra", "Amara", "Anders", "Anika", "Arash", "Beatriz", "Bogdan", "Chidi", "Chloe", "Dara",
    "Dmitri", "Eilidh", "Elif", "Emeka", "Farah", "Femi", "Gita", "Goran", "Hana", "Hamid", "Ingrid", "Ivo",
    "Jaspreet", "Jun", "Kavya", "Kofi", "Lan", "Leila", "Linh", "Luca", "Mairi", "Marek", "Mei", "Mina",
    "Naveen", "Nia", "Noor", "Olek", "Paloma", "Petra", "Priya", "Rafael", "Reza", "Rosa", "Samir", "Sanna",
    "Soo-Jin", "Tariq", "Thandi", "Tomas", "Uma", "Vikram", "Wen", "Yara", "Yusuf", "Zofia", "Zainab",
)  # fmt: skip

FAMILY_NAMES = (
    "Abara", "Adeyemi", "Almeida", "Andersen", "Bains", "Baptiste", "Castellano", "Chaudhry", "Cheung",
    "Dhaliwal", "Dimitrov", "Eriksen", "Farrokh", "Ferreira", "Fong", "Gauthier", "Gill", "Haddad", "Hashimoto",
    "Hoang", "Ibrahim", "Iyer", "Jankowski", "Johal", "Kang", "Kaplan", "Kowalczyk", "Lalonde", "Lau",
    "Lindqvist", "MacAskill", "Mahmoudi", "Mbeki", "Moreau", "Nakamura", "Nguyen", "Novak", "O'Rourke",
    "Okafor", "Oyelaran", "Pacheco", "Papadakis", "Petrov", "Quesnel", "Rahimi", "Ramirez", "Sandhu", "Sato",
    "Sidhu", "Silva", "Tanaka", "Tran", "Uchida", "Van Houten", "Villanueva", "Wong", "Yamada", "Yilmaz",
    "Zhang", "Zielinski",
)  # fmt: skip

FIRST_WORDS = (
    "Alder", "Amber", "Anchor", "Arbutus", "Aurora", "Beacon", "Birch", "Blue Heron", "Bright", "Cascade",
    "Cedar", "Chinook", "Clearwater", "Coastal", "Copper", "Coral", "Crescent", "Dogwood", "Driftwood", "Eagle",
    "Echo", "Emerald", "Evergreen", "False Creek", "Fern", "Fireweed", "First Light", "Foghorn", "Garry Oak",
    "Glacier", "Golden", "Granite", "Harbour", "Hemlock", "Heritage", "Highline", "Horizon", "Huckleberry",
    "Iron", "Island", "Jade", "Juniper", "Kelp", "Keystone", "Kingfisher", "Lantern", "Larch", "Lighthouse",
    "Lions", "Lotus", "Lumen", "Lynx", "Maple", "Meridian", "Mint", "Moonrise", "Mossy", "Mountain", "New Leaf",
    "North Star", "Northshore", "Oak", "Ocean", "Open Sky", "Orca", "Osprey", "Otter", "Pacific", "Paper",
    "Pebble", "Pine", "Pioneer", "Quartz", "Quiet", "Rainfall", "Raven", "Red Door", "River", "Rosewood",
    "Saffron", "Sage", "Salal", "Salmonberry", "Sea", "Seawall", "Second", "Silver", "Sitka", "Skyline",
    "Slate", "Snowberry", "Solstice", "Spruce", "Stone", "Summit", "Sunrise", "Terminal", "Third", "Tidal",
    "Timber", "True North", "Twin", "Umbrella", "Velvet", "Water Street", "West Coast", "Westwind", "Whale",
    "Wild", "Willow", "Winter", "Yew", "Zenith",
)  # fmt: skip

SECOND_WORDS = (
    "Accounting", "Advisory", "Analytics", "Antiques", "Architecture", "Auto", "Bakery", "Barbers", "Bicycles",
    "Bistro", "Books", "Brewing", "Builders", "Cabinetry", "Cafe", "Capital", "Carpentry", "Catering",
    "Ceramics", "Chiropractic", "Cleaning", "Clinic", "Coffee", "Collective", "Communications", "Concrete",
    "Construction", "Consulting", "Counselling", "Couriers", "Creative", "Dance", "Deli", "Dental", "Design",
    "Developments", "Diagnostics", "Drywall", "Education", "Electric", "Engineering", "Excavating", "Films",
    "Fitness", "Flooring", "Florist", "Foods", "Furniture", "Gallery", "Games", "Gardens", "Glass", "Grill",
    "Grocers", "Hardware", "Heating", "Holdings", "Homes", "Hotel", "Imports", "Insurance", "Interiors",
    "Investments", "Jewellers", "Kitchen", "Labs", "Landscaping", "Laundry", "Law", "Learning", "Lighting",
    "Logistics", "Management", "Marine", "Market", "Massage", "Mechanical", "Media", "Millwork", "Motors",
    "Moving", "Music", "Noodle House", "Optical", "Outfitters", "Painting", "Pet Care", "Pharmacy",
    "Photography", "Physiotherapy", "Pilates", "Pizza", "Planning", "Plumbing", "Press", "Print", "Properties",
    "Realty", "Recycling", "Rentals", "Restorations", "Roofing", "Salon", "Seafood", "Security", "Services",
    "Shoes", "Signs", "Software", "Solar", "Sound", "Spa", "Sports", "Stationery", "Storage", "Studio", "Sushi",
    "Systems", "Tailors", "Tea", "Technologies", "Tiling", "Toys", "Translations", "Travel", "Trading",
    "Upholstery", "Ventures", "Veterinary", "Video", "Watches", "Welding", "Wellness", "Wines", "Woodworks",
    "Yoga",
)  # fmt: skip

# Business types and the subtypes that go with each; the first subtype is drawn most.
BUSINESS_TYPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Office", ("Consultant", "Bookkeeping", "Administration", "Other")),
    ("Long-term Rental", ("", "Laneway", "Multiple Units")),
    ("Short-term Rental Operator", ("",)),
    ("General Contractor", ("Building", "Alterations and Repairs", "Demolition")),
    ("Trade Contractor", ("Electrical", "Plumbing", "Gas", "Sheet Metal", "Painting; Decorating")),
    ("Professional Health Care", ("", "Dentistry", "Family Medicine", "Physical Therapy")),
    ("Law Practice", ("", "Notary")),
    ("Retail Shop", ("Clothing", "Gifts", "Electronics", "Other")),
    ("Retail Food Shop", ("Bakery", "Produce", "Convenience")),
    ("Restaurant", ("Seated with liquor", "Seated without liquor", "Counter service")),
    ("Food Truck", ("",)),
    ("Beauty and Grooming", ("Hair", "Nails", "Skin Care")),
    ("Computer and Software Work", ("Software", "Networks", "")),
    ("Financial Office", ("Insurance", "Investments", "Mortgages")),
    ("Property Management", ("", "Strata")),
    ("Education and Instruction", ("Language", "Music", "Tutoring")),
    ("Fitness Studio", ("",)),
    ("Warehouse", ("Dry Goods", "Cold Storage")),
    ("Manufacturer", ("Apparel", "Food", "Wood Products")),
    ("Vehicle Repair", ("Mechanical", "Body and Paint")),
    ("Parking Lot", ("",)),
    ("Film and Photography", ("", "Post-production")),
    ("Cleaning Company", ("Residential", "Commercial")),
    ("Community Society", ("",)),
    ("Hotel", ("Full service", "Hostel")),
)

# The city's 22 local areas as business licences spell them, with a point near each centre (latitude, longitude)
# and how much of the city's business is there.
LOCAL_AREAS: tuple[tuple[str, float, float, float], ...] = (
    ("Arbutus-Ridge", 49.247, -123.162, 1.5), ("Downtown", 49.281, -123.117, 30.0),
    ("Dunbar-Southlands", 49.240, -123.186, 1.5), ("Fairview", 49.264, -123.129, 10.0),
    ("Grandview-Woodland", 49.275, -123.067, 4.5), ("Hastings-Sunrise", 49.277, -123.041, 3.0),
    ("Kensington-Cedar Cottage", 49.247, -123.072, 5.0), ("Kerrisdale", 49.222, -123.160, 1.5),
    ("Killarney", 49.219, -123.038, 2.0), ("Kitsilano", 49.267, -123.164, 7.0), ("Marpole", 49.211, -123.129, 3.5),
    ("Mount Pleasant", 49.263, -123.099, 7.0), ("Oakridge", 49.226, -123.123, 1.2),
    ("Renfrew-Collingwood", 49.247, -123.040, 4.2), ("Riley Park", 49.245, -123.103, 3.2),
    ("Shaughnessy", 49.245, -123.139, 0.8), ("South Cambie", 49.246, -123.121, 1.0),
    ("Strathcona", 49.278, -123.088, 3.5),
    ("Sunset", 49.219, -123.092, 3.6), ("Victoria-Fraserview", 49.218, -123.065, 1.7),
    ("West End", 49.285, -123.135, 6.2), ("West Point Grey", 49.268, -123.203, 1.3),
)  # fmt: skip

NAMED_STREETS = (
    "ABBOTT ST", "ALBERNI ST", "ALEXANDER ST", "ALMA ST", "ARBUTUS ST", "BEACH AV", "BURRARD ST", "BUTE ST",
    "CAMBIE ST", "CANADA PLACE", "CARDERO ST", "CLARK DRIVE", "COLUMBIA ST", "COMMERCIAL DRIVE", "CORDOVA ST",
    "CYPRESS ST", "DAVIE ST", "DENMAN ST", "DRAKE ST", "DUNBAR ST", "DUNSMUIR ST", "E BROADWAY", "E GEORGIA ST",
    "E HASTINGS ST", "E PENDER ST", "FIR ST", "FRASER ST", "GORE AV", "GRANVILLE ST", "HAMILTON ST",
    "HEATHER ST", "HELMCKEN ST", "HEMLOCK ST", "HOMER ST", "HORNBY ST", "HOWE ST", "KEEFER ST", "KINGSWAY",
    "KNIGHT ST", "MACDONALD ST", "MAIN ST", "MAINLAND ST", "MELVILLE ST", "NANAIMO ST", "NELSON ST", "OAK ST",
    "ONTARIO ST", "POWELL ST", "QUEBEC ST", "RENFREW ST", "RICHARDS ST", "ROBSON ST", "RUPERT ST",
    "SE MARINE DRIVE", "SEYMOUR ST", "SMITHE ST", "SW MARINE DRIVE", "THURLOW ST", "UNION ST", "VENABLES ST",
    "VICTORIA DRIVE", "W BROADWAY", "W CORDOVA ST", "W GEORGIA ST", "W HASTINGS ST", "W PENDER ST", "WATER ST",
    "WILLOW ST", "YEW ST", "YUKON ST",
)  # fmt: skip

# Where businesses without an address in the city have their seat: (city, province).
SEATS_ELSEWHERE = (
    ("Burnaby", "BC"), ("Surrey", "BC"), ("North Vancouver", "BC"), ("West Vancouver", "BC"), ("Coquitlam", "BC"),
    ("Port Coquitlam", "BC"), ("Port Moody", "BC"), ("Richmond", "BC"), ("Delta", "BC"), ("Langley", "BC"),
    ("Abbotsford", "BC"), ("Chilliwack", "BC"), ("Squamish", "BC"), ("Victoria", "BC"), ("Kelowna", "British Columbia"),
    ("Calgary", "AB"), ("Toronto", "ON"), ("Montréal", "QC"), ("Seattle", "WA"),
)  # fmt: skip

# Parking infractions: bylaw, section, text, share. A section has one text.
INFRACTIONS: tuple[tuple[int, str, str, float], ...] = (
    (2952, "5(4)(A)(ii)", "PARK AT A METER WHOSE TIME HAS RUN OUT", 32.0),
    (2952, "5(4)(B)", "PARK AT A METER AFTER THE TIME PAID BY PHONE OR LICENCE PLATE", 16.0),
    (2849, "17.1(B)", "STOP WHERE A SIGN FORBIDS STOPPING", 9.6),
    (2849, "17.6(B)", "PARK WHERE A SIGN RESTRICTS PARKING, EXCEPT AS THE SIGN ALLOWS", 9.3),
    (2849, "17.6(E)", "PARK FOR LONGER THAN THE TIME SHOWN ON A SIGN", 5.5),
    (2849, "17.2(K)", "STOP ON A CONGESTION ROUTE DURING ITS HOURS", 4.5),
    (2849, "17.5(C)(ii)", "STOP WITHIN 6 METRES OF THE SIDEWALK OF A CROSSING STREET", 2.7),
    (2849, "21.5", "STOP IN A LOADING ZONE FOR COMMERCIAL VEHICLES", 2.0),
    (2849, "17.2(J)", "STOP IN A SPACE RESERVED FOR ANOTHER CLASS OF VEHICLE", 1.6),
    (2849, "19.1(H)", "STOP IN A LANE BESIDE COMMERCIAL PROPERTY", 1.5),
    (2849, "17.2(D)(ii)", "STOP WITHIN 1.5 METRES OF A DRIVEWAY", 1.4),
    (2849, "17.3", "STOP IN A BUS STOP", 1.1),
    (2849, "17.6(F)", "PARK MORE THAN 3 HOURS BESIDE PREMISES OF OTHERS BETWEEN 8:00 A.M. AND 6:00 P.M.", 1.1),
    (2849, "72A(1)", "LEAVE A DERELICT VEHICLE ON A STREET", 1.0),
    (2849, "20.2", "LARGE VEHICLE - PARK BESIDE A PARK, SCHOOL OR HOME", 1.0),
    (2849, "17.2(A)(ii)", "STOP WITHIN 6 METRES BEFORE A STOP SIGN", 1.0),
    (2849, "21.1", "STOP IN A PASSENGER ZONE", 0.9),
    (2849, "17.2(C)", "STOP WITHIN 5 METRES OF A FIRE HYDRANT", 0.8),
    (2849, "18.1(C)(ii)", "STOP WITH THE WHEELS MORE THAN 30 CM FROM THE CURB", 0.7),
    (2849, "18.1(B)(ii)", "STOP FACING AGAINST THE TRAFFIC", 0.7),
)


def numbered_avenues() -> tuple[str, ...]:
    """`E 1ST AV` to `W 70TH AV`."""
    return tuple(f"{side} {_ordinal(number)} AV" for number in range(1, 71) for side in ("E", "W"))


def _ordinal(number: int) -> str:
    ending = "TH" if number % 100 in {11, 12, 13} else {1: "ST", 2: "ND", 3: "RD"}.get(number % 10, "TH")
    return f"{number}{ending}"
