"""French of the report `waterfall`; names of studies stay as they are."""

from typing import Final

STUDIES: Final = (
    "ISBA/PwC, Programmatic Supply Chain Transparency Study",
    "ANA, Programmatic Media Supply Chain Transparency Study",
    "ANA, Programmatic Transparency Benchmark",
)
WORDS: Final[dict[str, str]] = {
    "Waterfall": "Cascade",
    "who received which part of what buyers paid?": "qui a reçu quelle part de ce que les acheteurs ont payé ?",
    "Who got the money?": "Qui a eu l'argent ?",
    "Nothing was paid, or all of it was given back.": "Rien n'a été payé, ou tout a été rendu.",
    "Of every {whole}, {publisher} reached publishers and {hidden} is accounted for by nobody.": (
        "Sur {whole}, {publisher} sont arrivés aux éditeurs et de {hidden}, personne ne rend compte."
    ),
    "In 2020 the first study of the trade found 51 and 15 of every 100 (ISBA/PwC).": (
        "En 2020, la première étude du métier a trouvé 51 et 15 sur 100 (ISBA/PwC)."
    ),
    "Studies define their parts in their own ways and none measured this ledger: they say what is usual, not what is "
    "right.": (
        "Les études définissent leurs parts chacune à sa façon et aucune n'a mesuré ce registre : elles disent ce qui "
        "est courant, pas ce qui est juste."
    ),
    "reached publishers": "arrivé aux éditeurs",
    "Publishers' part of spend. Net of refunds.": "La part des éditeurs dans la dépense. Net des remboursements.",
    "publishers' CPM": "CPM des éditeurs",
    "What publishers received for 1,000 ads seen. Net of refunds.": (
        "Ce que les éditeurs ont reçu pour 1 000 publicités vues. Net des remboursements."
    ),
    "toll": "péage",
    "Share of spend that did not reach publishers. Net of refunds.": (
        "Part de la dépense qui n'est pas arrivée aux éditeurs. Net des remboursements."
    ),
    "buyer's side": "côté acheteur",
    "Agency, demand platform, data, verification, taxes and currency exchange, over spend. Net of refunds.": (
        "Agence, plateforme d'achat, données, vérification, taxes et change, sur la dépense. Net des remboursements."
    ),
    "seller's side": "côté vendeur",
    "Exchange and supply technology, over spend. Net of refunds.": (
        "Place de marché et technologie de l'offre, sur la dépense. Net des remboursements."
    ),
    "The part of spend that is in no party's books (the unknown delta). Net of refunds.": (
        "La part de la dépense qui n'est dans les livres de personne (l'écart inconnu). Net des remboursements."
    ),
    "amount": "montant",
    "What it received. Net of refunds.": "Ce qu'elle a reçu. Net des remboursements.",
    "Its part of what buyers paid.": "Sa part de ce que les acheteurs ont payé.",
    "Who got the money": "Qui a eu l'argent",
    "Where the money goes": "Où va l'argent",
    "buyers paid": "payé par les acheteurs",
    "of every 100": "sur 100",
    "{buy} stay on the buyer's side, {sell} with exchange and supply technology; {publisher} reach publishers.": (
        "{buy} restent du côté de l'acheteur, {sell} à la place de marché et à la technologie de l'offre ; "
        "{publisher} arrivent aux éditeurs."
    ),
    "What studies found": "Ce qu'ont trouvé les études",
    "this ledger": "ce registre",
    "source": "source",
    "year": "année",
    "what": "quoi",
    "in": "en",
    **{title: title for title in STUDIES},
    "2025, 1st quarter": "2025, 1er trimestre",
    "2025, 2nd quarter": "2025, 2e trimestre",
    "reached publishers, private deals (at least)": "arrivé aux éditeurs, accords privés (au moins)",
    "nobody accounts for it, private deals (less than)": "personne n'en rend compte, accords privés (moins de)",
    "cost of the transaction": "coût de la transaction",
    "lost: not viewable, not human, not measured, made for ads": (
        "perdu : non visible, non humain, non mesuré, fait pour la publicité"
    ),
    "effective": "efficace",
    "price of 1,000 ads": "prix de 1 000 publicités",
    "price of 1,000 ads, private deals": "prix de 1 000 publicités, accords privés",
    "price of 1,000 ads, open market": "prix de 1 000 publicités, marché ouvert",
    "What buyers paid. Net of refunds.": "Ce que les acheteurs ont payé. Net des remboursements.",
    "What reached publishers. Net of refunds.": "Ce qui est arrivé aux éditeurs. Net des remboursements.",
    "Agency, demand platform, data, verification, taxes, currency.": (
        "Agence, plateforme d'achat, données, vérification, taxes, change."
    ),
    "Exchange and supply technology.": "Place de marché et technologie de l'offre.",
    "In no party's books.": "Dans les livres de personne.",
    "publishers / spend": "éditeurs / dépense",
}
