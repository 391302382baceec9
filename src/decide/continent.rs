//! Which continent a country is on: every code of ISO 3166-1 alpha-2, and XK, which GeoIP databases use for Kosovo.
//!
//! The continents are those of the GeoNames gazetteer (`countryInfo.txt`), which the common GeoIP databases follow. A
//! country on two continents is on the one that GeoNames gives it.

/// The continents by the codes of GeoIP databases, each with its countries in alphabetical order.
const CONTINENTS: [(&str, &str); 7] = [
    (
        "AF",
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ NA \
         NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    ("AN", "AQ BV GS HM TF"),
    (
        "AS",
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH \
         PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        "EU",
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME \
         MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        "NA",
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT \
         US VC VG VI",
    ),
    ("OC", "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS"),
    ("SA", "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// Returns the continent of `country` (ISO 3166-1 alpha-2, in capitals), where there is such a country.
pub fn of(country: &str) -> Option<&'static str> {
    let here = |countries: &str| countries.split(' ').any(|code| code == country);
    CONTINENTS.iter().find(|(_, countries)| here(countries)).map(|(continent, _)| *continent)
}

/// Returns `text` as the code of a continent, where it is one in any case of letters.
pub fn code(text: &str) -> Option<&'static str> {
    CONTINENTS.iter().map(|(continent, _)| *continent).find(|continent| continent.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_country_once() {
        let all: Vec<_> = CONTINENTS.iter().flat_map(|(_, countries)| countries.split(' ')).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (250, 250), "249 of ISO 3166-1, and XK");
        assert!(all.iter().all(|code| crate::values::mirror_list::country_code(code).as_deref() == Some(code)));
    }

    #[test]
    fn finds_continents() {
        for (country, continent) in [
            ("DE", Some("EU")),
            ("US", Some("NA")),
            ("NA", Some("AF")),
            ("AS", Some("OC")),
            ("AF", Some("AS")),
            ("SA", Some("AS")),
            ("BR", Some("SA")),
            ("AQ", Some("AN")),
            ("ZZ", None),
            ("UK", None),
            ("de", None),
            ("", None),
            ("D", None),
            ("E F", None),
        ] {
            assert_eq!(of(country), continent, "{country}");
        }
        assert_eq!((code("eu"), code("EU"), code("XX"), code("")), (Some("EU"), Some("EU"), None, None));
    }
}
