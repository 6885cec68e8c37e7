"""French of the report `price_list`."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "Price list": "Tarif",
    "what does a person cost for a month, by segment, publisher and week?": (
        "combien coûte une personne pour un mois, par segment, éditeur et semaine ?"
    ),
    "What does a person cost for a month?": "Combien coûte une personne pour un mois ?",
    "Nobody who was reached is known, so nobody has a price.": (
        "Personne de connu n'a été touché : personne n'a de prix."
    ),
    "{each} on average, all advertisers together.": "{each} en moyenne, tous annonceurs ensemble.",
    "Dearest is {dear} at {high}, cheapest {cheap} at {low}.": (
        "Le plus cher est {dear} à {high}, le moins cher {cheap} à {low}."
    ),
    "spend / person-months: what all advertisers together spend on a person in a month in which he is rented. Net of "
    "refunds.": (
        "dépense / mois-personnes : ce que tous les annonceurs ensemble dépensent pour une personne dans un mois où "
        "elle est louée. Net des remboursements."
    ),
    "1000 x spend / customer-months: what 1,000 customers (pairs of an advertiser and a person) cost for a month. Net "
    "of refunds.": (
        "1000 x dépense / mois-clients : ce que coûtent 1 000 clients (paires d'un annonceur et d'une personne) pour "
        "un mois. Net des remboursements."
    ),
    "a contact": "un contact",
    "spend / contacts. Net of refunds.": "dépense / contacts. Net des remboursements.",
    "Mean cost of a paid ad whose person is known. Net of refunds.": (
        "Coût moyen d'une publicité payée dont la personne est connue. Net des remboursements."
    ),
    "Different triples of an advertiser, a person and a calendar month (UTC) in which it paid for him.": (
        "Triplets différents d'un annonceur, d'une personne et d'un mois civil (UTC) où il a payé pour elle."
    ),
    "A week is that of the sale, from Monday (UTC). A person whom two groups rent counts in both, so people and "
    "person-months do not add up over groups; money does.": (
        "Une semaine est celle de la vente, à partir du lundi (UTC). Une personne louée dans deux groupes compte dans "
        "les deux : personnes et mois-personnes ne s'additionnent pas entre groupes ; l'argent, oui."
    ),
}
