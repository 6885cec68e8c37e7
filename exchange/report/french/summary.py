"""French of the report `summary`."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "Counted within these wins alone: a first contact, and a customer rented twice, are so among them. What is "
    "nobody's is left out: spaces offered where an advertiser or a segment is meant, bids where a segment is.": (
        "Compté parmi ces seules enchères gagnées : un premier contact, un client loué deux fois le sont parmi elles. "
        "Ce qui n'est à personne est omis : les espaces offerts s'il s'agit d'un annonceur ou d'un segment, les offres "
        "s'il s'agit d'un segment."
    ),
    "Summary": "Résumé",
    "what did renting people cost, and who got the money?": (
        "combien a coûté la location des gens, et qui a eu l'argent ?"
    ),
    "What did renting cost?": "Combien a coûté la location ?",
    "Nothing was paid for: there is nothing to answer from ({wins} wins, {held} still open).": (
        "Rien n'a été payé : il n'y a rien à répondre (enchères gagnées : {wins}, encore ouvertes : {held})."
    ),
    "What did one customer cost me?": "Combien m'a coûté un client ?",
    "Renting one customer cost {each} on average: {spend} for {n} customers.": (
        "Louer un client a coûté {each} en moyenne : {spend} pour {n} clients."
    ),
    "A thousand customers for a month (a kilo-customer) cost {kilo}.": (
        "Mille clients pour un mois (un kilo-client) coûtent {kilo}."
    ),
    "Winning one new customer, who did what the ad was for and was not yours before, cost {cac} ({n} won).": (
        "Gagner un nouveau client, qui a fait ce que la publicité voulait et n'était pas à vous, a coûté {cac} "
        "({n} de gagnés)."
    ),
    "No conversion was that of a new customer (conversions: {n}), so a new customer has no price yet.": (
        "Aucune conversion n'est celle d'un nouveau client (conversions : {n}) : un nouveau client n'a pas encore de "
        "prix."
    ),
    "No conversion was reported, so a new customer has no price yet.": (
        "Aucune conversion n'a été signalée : un nouveau client n'a pas encore de prix."
    ),
    "They are {n} people: one whom several advertisers rented is a customer of each.": (
        "Ce sont {n} personnes : qui a été loué par plusieurs annonceurs est client de chacun."
    ),
    "A thousand customers (a kilo-customer) cost {kilo} for the part of a month that this ledger holds: {first} to "
    "{last} UTC.": (
        "Mille clients (un kilo-client) coûtent {kilo} pour la part d'un mois que ce registre contient : de {first} à "
        "{last} UTC."
    ),
    "“Me” is all {n} advertisers of this ledger together; the table by advertiser has each one's own numbers.": (
        "« Moi », ce sont les {n} annonceurs de ce registre ensemble ; le tableau par annonceur a les chiffres de "
        "chacun."
    ),
    "Each advertiser's own: rentier report waterfall --by advertiser.": (
        "Pour chaque annonceur : rentier report waterfall --by advertiser."
    ),
    "cost of a customer": "coût d'un client",
    "Customers who were on the advertiser's own list when they were rented.": (
        "Clients qui étaient sur la propre liste de l'annonceur quand ils ont été loués."
    ),
    "What was paid for people who are known. Net of refunds.": (
        "Ce qui a été payé pour des gens connus. Net des remboursements."
    ),
    "Nobody who was reached is known, so there is no customer to put a price on.": (
        "Personne de connu n'a été touché : il n'y a pas de client dont donner le prix."
    ),
    "How many did I rent twice?": "Combien en ai-je loué deux fois ?",
    "{n} of {all} customers were rented twice or more ({share}).": (
        "{n} clients sur {all} ont été loués deux fois ou plus ({share})."
    ),
    "{n} of {all} contacts ({share}) went to someone the same advertiser had paid for before.": (
        "{n} contacts sur {all} ({share}) sont allés à quelqu'un pour qui le même annonceur avait déjà payé."
    ),
    "Nobody who was reached is known, so nobody can be counted twice.": (
        "Personne de connu n'a été touché : personne ne peut être compté deux fois."
    ),
    "How many were mine already?": "Combien étaient déjà à moi ?",
    "{n} of {all} customers ({share}) were on the advertiser's own list when it rented them.": (
        "{n} clients sur {all} ({share}) étaient sur la propre liste de l'annonceur quand il les a loués."
    ),
    "They took {spend}, {share} of all money.": "Ils ont pris {spend}, {share} de tout l'argent.",
    "Nobody who was reached is known, so nobody can be found on a list.": (
        "Personne de connu n'a été touché : personne ne peut être retrouvé sur une liste."
    ),
    "Who got my euro?": "Qui a eu mon euro ?",
    "Who got my money?": "Qui a eu mon argent ?",
    "All of it was given back.": "Tout a été rendu.",
    "Of every {whole}, {publisher} reached publishers.": "Sur {whole}, {publisher} sont arrivés aux éditeurs.",
    "The buyer's side took {buy} (agency {agency}, demand platform {dsp}, data and verification {data}, taxes and "
    "currency {tax}).": (
        "Le côté de l'acheteur a pris {buy} (agence {agency}, plateforme d'achat {dsp}, données et vérification "
        "{data}, taxes et change {tax})."
    ),
    "The exchange took {exchange}, supply technology {tech}; {hidden} is accounted for by nobody.": (
        "La place de marché a pris {exchange}, la technologie de l'offre {tech} ; de {hidden}, personne ne rend compte."
    ),
    "A customer is one person rented by one advertiser; a contact is an ad that was paid for and whose person is "
    "known. A contact that was refunded stays a contact.": (
        "Un client est une personne louée par un annonceur ; un contact est une publicité payée dont la personne est "
        "connue. Un contact remboursé reste un contact."
    ),
    "{n} paid ads went to people nobody knew: they are in the money, and in no count of people.": (
        "{n} publicités payées sont allées à des inconnus : elles sont dans l'argent, et dans aucun compte de "
        "personnes."
    ),
    "{n} rows were left out: an unfinished step, or a writer at work.": (
        "{n} lignes ont été laissées de côté : une étape inachevée, ou un écrivain au travail."
    ),
    "paid": "payé",
    "What buyers paid before anything was given back. Gross.": (
        "Ce que les acheteurs ont payé avant tout remboursement. Brut."
    ),
    "given back": "rendu",
    "What was refunded to buyers.": "Ce qui a été remboursé aux acheteurs.",
    "Wins whose ad was seen: an impression or a view was reported, or what is billed was. Losers that an all-pay "
    "auction charges show nothing.": (
        "Enchères gagnées dont la publicité a été vue : une impression ou une vue a été signalée, ou ce qui est "
        "facturé l'a été. Les perdants qu'une enchère où tous paient fait payer ne montrent rien."
    ),
    "What buyers paid for 1,000 ads seen. Net of refunds.": (
        "Ce que les acheteurs ont payé pour 1 000 publicités vues. Net des remboursements."
    ),
    "Wins whose ad was clicked.": "Enchères gagnées dont la publicité a été cliquée.",
    "cost of a click (eCPC)": "coût d'un clic (eCPC)",
    "Spend over clicks, however it was billed. Net of refunds.": (
        "Dépense par clic, quelle que soit la facturation. Net des remboursements."
    ),
    "Wins whose person did what the ad was for.": (
        "Enchères gagnées dont la personne a fait ce que la publicité voulait."
    ),
    "cost of a conversion (CPA)": "coût d'une conversion (CPA)",
    "Spend over conversions; they may have come without the ad. Net of refunds.": (
        "Dépense par conversion ; elles seraient peut-être venues sans la publicité. Net des remboursements."
    ),
    "new customers": "nouveaux clients",
    "Customers with a conversion on a paid ad while they were not on the advertiser's own list.": (
        "Clients avec une conversion sur une publicité payée alors qu'ils n'étaient pas sur la propre liste de "
        "l'annonceur."
    ),
    "cost of a new customer (CAC)": "coût d'un nouveau client (CAC)",
    "All spend over new customers. Net of refunds.": "Toute la dépense par nouveau client. Net des remboursements.",
    "customers rented": "clients loués",
    "Different pairs of an advertiser and a known person it paid for.": (
        "Paires différentes d'un annonceur et d'une personne connue pour laquelle il a payé."
    ),
    "Paid ads whose person is known, refunded or not.": (
        "Publicités payées dont la personne est connue, remboursées ou non."
    ),
    "cost of one customer": "coût d'un client",
    "Money spent on known people over customers. Net of refunds.": (
        "Argent dépensé pour des personnes connues, par client. Net des remboursements."
    ),
    "cost of the middle customer": "coût du client médian",
    "Half of the customers cost less. Net of refunds.": "La moitié des clients coûte moins. Net des remboursements.",
    "cost that one customer in ten exceeds": "coût que dépasse un client sur dix",
    "90th percentile of what customers cost. Net of refunds.": (
        "90e centile de ce que coûtent les clients. Net des remboursements."
    ),
    "cost of the dearest customer": "coût du client le plus cher",
    "The most that one advertiser spent on one person. Net of refunds.": (
        "Le plus qu'un annonceur a dépensé pour une personne. Net des remboursements."
    ),
    "cost of a first contact": "coût d'un premier contact",
    "Mean cost of contacts that are the first of their customer. Net of refunds.": (
        "Coût moyen des contacts qui sont les premiers de leur client. Net des remboursements."
    ),
    "cost of renting again": "coût d'une nouvelle location",
    "Mean cost of contacts with someone the advertiser had paid for before. Net of refunds.": (
        "Coût moyen des contacts avec quelqu'un pour qui l'annonceur avait déjà payé. Net des remboursements."
    ),
    "customers rented twice or more": "clients loués deux fois ou plus",
    "Customers with at least two contacts.": "Clients avec au moins deux contacts.",
    "re-rental": "relocation",
    "Share of contacts that rent someone the same advertiser had paid for before.": (
        "Part des contacts qui louent quelqu'un pour qui le même annonceur avait déjà payé."
    ),
    "own customers rented": "propres clients loués",
    "Customers who were on the advertiser's own list when they were rented, at least once.": (
        "Clients qui étaient sur la propre liste de l'annonceur quand ils ont été loués, au moins une fois."
    ),
    "own customers' share of spend": "part des propres clients dans la dépense",
    "Money spent on people who were on the advertiser's own list, over all spend. Net of refunds.": (
        "Argent dépensé pour des personnes de la propre liste de l'annonceur, sur toute la dépense. Net des "
        "remboursements."
    ),
    "own customers' price": "prix des propres clients",
    "CPM on own customers over the CPM on everybody else. Net of refunds.": (
        "CPM des propres clients rapporté au CPM de tous les autres. Net des remboursements."
    ),
    "ad spaces offered": "espaces offerts",
    "Auctions held, sold or not.": "Enchères tenues, vendues ou non.",
    "sold": "vendus",
    "Share of auctions with at least one winner.": "Part des enchères avec au moins un gagnant.",
    "Bids with a price; none where the journal keeps no bids.": (
        "Offres avec un prix ; aucune si le journal ne garde pas les offres."
    ),
    "Positions won; without losers that an all-pay auction charges.": (
        "Places gagnées ; sans les perdants qu'une enchère où tous paient fait payer."
    ),
    "billed": "facturées",
    "Wins whose billable event came in time.": "Enchères gagnées dont l'événement facturable est venu à temps.",
    "released": "libérées",
    "Wins whose hold expired without the billable event.": (
        "Enchères gagnées dont la réserve a expiré sans l'événement facturable."
    ),
    "unpaid": "impayées",
    "Wins whose billable event came too late: nothing is owed.": (
        "Enchères gagnées dont l'événement facturable est venu trop tard : rien n'est dû."
    ),
    "still open": "encore ouvertes",
    "Wins whose billable event may still come.": "Enchères gagnées dont l'événement facturable peut encore venir.",
    "money held": "argent réservé",
    "What the open wins will cost if all are billed.": (
        "Ce que coûteront les enchères ouvertes si toutes sont facturées."
    ),
    "Wins whose ad was seen.": "Enchères gagnées dont la publicité a été vue.",
    "1000 x spend / ads seen.": "1000 x dépense / publicités vues.",
    "Different pairs of an advertiser and a known person.": (
        "Paires différentes d'un annonceur et d'une personne connue."
    ),
    "rented twice": "loués deux fois",
    "Customers with at least two contacts within the group.": "Clients avec au moins deux contacts dans le groupe.",
    "own, of spend": "propres, de la dépense",
    "Share of spend on the advertiser's own customers.": "Part de la dépense pour les propres clients de l'annonceur.",
    "Positions won.": "Places gagnées.",
    "spend on own": "dépense, propres",
    "Spend on the advertiser's own customers. Net of refunds.": (
        "Dépense pour les propres clients de l'annonceur. Net des remboursements."
    ),
}
