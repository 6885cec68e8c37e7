"""French of what every report may show: units, parties, heads, the words of the frame."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    # small cells
    "Points about fewer than {n} people are left out.": "Les points sur moins de {n} personnes sont omis.",
    "That is about fewer than {n} people, so it is not told.": (
        "Cela concerne moins de {n} personnes et n'est donc pas dit."
    ),
    # units
    "{currency}": "{currency}",
    "{currency} per 1,000 ads": "{currency} les 1 000 publicités",
    "{currency} per 1,000 customer-months": "{currency} les 1 000 mois-clients",
    "{currency} per person-month": "{currency} par mois-personne",
    "x": "fois",
    "from 0 to 1": "de 0 à 1",
    "ads": "publicités",
    "ad": "publicité",
    "auction": "enchère",
    "bid": "offre",
    "click": "clic",
    "contact": "contact",
    "conversion": "conversion",
    "customer": "client",
    "opt-in": "inscription",
    "person": "personne",
    "customer-month": "client-mois",
    "row": "ligne",
    "win": "enchère gagnée",
    "auctions": "enchères",
    "bids": "offres",
    "clicks": "clics",
    "contacts": "contacts",
    "conversions": "conversions",
    "customers": "clients",
    "months": "mois",
    "days": "jours",
    "opt-ins": "inscriptions",
    "people": "personnes",
    "not shown: {n} people": "non montré : {n} personnes",
    "person-months": "mois-personnes",
    "customer-months": "mois-clients",
    "rows": "lignes",
    "wins": "enchères gagnées",
    # the frame
    "Figures": "Chiffres",
    "Notes": "Notes",
    "how it is counted": "le calcul",
    "what the columns say": "ce que disent les colonnes",
    "nothing to show": "rien à montrer",
    "... and {n} more": "... et {n} de plus",
    "at": "à",
    "total": "total",
    "others": "autres",
    "unknown": "inconnu",
    "no segment": "aucun segment",
    "only": "seulement",
    "or": "ou",
    "figure": "chiffre",
    "value": "valeur",
    "unit": "unité",
    "low": "bas",
    "high": "haut",
    "definition": "définition",
    "formula": "formule",
    "series": "série",
    # dimensions
    "advertiser": "annonceur",
    "campaign": "campagne",
    "segment": "segment",
    "publisher": "éditeur",
    "week": "semaine",
    "month": "mois",
    "By advertiser": "Par annonceur",
    "By campaign": "Par campagne",
    "By segment": "Par segment",
    "By publisher": "Par éditeur",
    "By week": "Par semaine",
    "By month": "Par mois",
    "Part by part": "Part par part",
    # parties
    "party": "qui",
    "agency": "agence",
    "demand platform (DSP)": "plateforme d'achat (DSP)",
    "audience data": "données d'audience",
    "verification": "vérification",
    "data and verification": "données et vérification",
    "taxes": "taxes",
    "currency exchange": "change",
    "publishers": "éditeurs",
    "exchange (SSP)": "place de marché (SSP)",
    "supply technology": "technologie de l'offre",
    "nobody accounts for it": "personne n'en rend compte",
    # heads that several reports share
    "spend": "dépense",
    "share of spend": "part de la dépense",
    "ads seen": "publicités vues",
    "CPM": "CPM",
    "person-month": "mois-personne",
    "kilo-customer": "kilo-client",
    "people rented": "personnes louées",
    "What was paid. Net of refunds.": "Ce qui a été payé. Net des remboursements.",
    "What buyers paid, all fees included. Net of refunds.": (
        "Ce que les acheteurs ont payé, tous frais compris. Net des remboursements."
    ),
    "What was paid for known people. Net of refunds.": (
        "Ce qui a été payé pour des personnes connues. Net des remboursements."
    ),
    "Different known people in paid ads.": "Personnes connues différentes dans les publicités payées.",
    "Different known people in paid ads, whoever paid.": (
        "Personnes connues différentes dans les publicités payées, quel que soit le payeur."
    ),
    "Paid ads whose person is known.": "Publicités payées dont la personne est connue.",
    "Different pairs of a person and a calendar month (UTC) in which someone paid for him.": (
        "Paires différentes d'une personne et d'un mois civil (UTC) où quelqu'un a payé pour elle."
    ),
    "What 1,000 customers cost for a calendar month (UTC) in which they are rented. Net of refunds.": (
        "Ce que coûtent 1 000 clients pour un mois civil (UTC) où ils sont loués. Net des remboursements."
    ),
    "What all advertisers together spend on a person in a calendar month (UTC) in which he is rented. Net of "
    "refunds.": (
        "Ce que tous les annonceurs ensemble dépensent pour une personne dans un mois civil (UTC) où elle est louée. "
        "Net des remboursements."
    ),
}
