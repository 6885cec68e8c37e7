"""French of the reports `attribution` and `own_resale`."""

from typing import Final

_TOLD: Final = "{name} : le dernier contact s'attribue {credited}, {cpa} chacune ; "
_UNTOLD: Final = _TOLD + "ce que les publicités ont causé, on ne peut le dire : "
WORDS: Final[dict[str, str]] = {
    "What they caused can only be told of all ads of an advertiser: who is held out sees none of them.": (
        "Ce qu'elles ont causé ne se dit que de toutes les publicités d'un annonceur : le groupe témoin n'en voit "
        "aucune."
    ),
    "Attribution": "Attribution",
    "what did the ads cause, and what do they only take credit for?": (
        "qu'ont causé les publicités, et de quoi se vantent-elles seulement ?"
    ),
    "What did the ads cause?": "Qu'ont causé les publicités ?",
    "An interval of 95 % errs once in twenty; the effect is told where it excludes 0.": (
        "Un intervalle de 95 % se trompe une fois sur vingt ; l'effet est dit là où il exclut 0."
    ),
    "Both groups are people its campaigns were, or would have been, asked for; a draw by hash of the person decides "
    "who is held out. Only conversions after a person's first such opportunity count.": (
        "Les deux groupes sont des gens pour qui ses campagnes ont été, ou auraient été, sollicitées ; un tirage par "
        "empreinte de la personne décide qui est mis à part. Seules comptent les conversions après la première de ces "
        "occasions."
    ),
    "CPA": "CPA",
    "CPA by holdout (iCPA)": "CPA par groupe témoin (iCPA)",
    "CPA by last touch": "CPA au dernier contact",
    "CSV of all conversions: advertiser, user_id | email | sha256, time (default: conversions.csv in the ledger)": (
        "CSV de toutes les conversions : advertiser, user_id | email | sha256, time (défaut : conversions.csv du "
        "registre)"
    ),
    "Conversions after an ad of the advertiser that the person saw or clicked within the look-back.": (
        "Conversions après une publicité de l'annonceur que la personne a vue ou cliquée dans le délai."
    ),
    "Conversions in the file, whoever it was.": "Conversions du fichier, qui que ce fût.",
    "Conversions of people who might see the ads, less as many as the held out had per person; with its 95 % "
    "interval.": (
        "Conversions de ceux qui pouvaient voir les publicités, moins autant par personne que les témoins ; avec "
        "l'intervalle de 95 %."
    ),
    "Conversions of those who might see the ads, less as many as the held out had per person. A dash where it cannot "
    "be told.": (
        "Conversions de ceux qui pouvaient voir les publicités, moins autant par personne que les témoins. Un tiret là "
        "où on ne peut le dire."
    ),
    "Conversions that followed an ad seen or clicked within the look-back, of advertisers with a holdout.": (
        "Conversions qui ont suivi une publicité vue ou cliquée dans le délai, des annonceurs qui ont des témoins."
    ),
    "Conversions whose last touch was its ad.": "Conversions dont le dernier contact fut sa publicité.",
    "Credited and caused": "Attribuées et causées",
    "Different people of these conversions.": "Personnes différentes de ces conversions.",
    "Last touch and holdout, side by side": "Dernier contact et témoins, côte à côte",
    "Last touch asks who saw an ad before he bought; the holdout asks who would have bought anyway.": (
        "Le dernier contact demande qui a vu une publicité avant d'acheter ; les témoins, qui aurait acheté de toute "
        "façon."
    ),
    "Last touch looks back {days} days.": "Le dernier contact remonte à {days} jours.",
    "Lower end of the 95 % interval of the conversions caused.": (
        "Borne basse de l'intervalle de 95 % des conversions causées."
    ),
    "Lower end of the 95 % interval of the iCPA.": "Borne basse de l'intervalle de 95 % de l'iCPA.",
    "Nobody can tell: a held-out person has no link, so his conversions are only in the advertiser's own book. Give it "
    "with --conversions FILE.csv.": (
        "Nul ne peut le dire : un témoin n'a pas de lien, ses conversions ne sont que dans le livre de l'annonceur. "
        "Donnez-le par --conversions FICHIER.csv."
    ),
    'Nobody can tell: who was held out stands in the bids, and this ledger keeps none (journal = "bids").': (
        'Nul ne peut le dire : les témoins sont dans les offres, et ce registre n\'en garde pas (journal = "bids").'
    ),
    "Nobody can tell: no advertiser held anybody out (advertiser.holdout).": (
        "Nul ne peut le dire : aucun annonceur n'a de témoins (advertiser.holdout)."
    ),
    "Of these, where the ad was only seen.": "Dont celles où la publicité a seulement été vue.",
    "Of these, where the last touch was a click.": "Dont celles où le dernier contact fut un clic.",
    "Of {name}, last touch credits {credited}; the holdout says that the ads caused {caused}.": (
        "Pour {name}, le dernier contact s'attribue {credited} ; les témoins disent que les publicités ont causé "
        "{caused}."
    ),
    "People kept from its ads, though its campaigns would have been asked.": (
        "Gens tenus à l'écart de ses publicités, alors que ses campagnes auraient été sollicitées."
    ),
    "People to hold out to tell such a difference, four times in five.": (
        "Témoins qu'il faut pour dire une telle différence, quatre fois sur cinq."
    ),
    "People whom its campaigns were asked for.": "Gens pour qui ses campagnes ont été sollicitées.",
    "Spend per conversion that followed an ad seen or clicked, of advertisers with a holdout. Net of refunds.": (
        "Dépense par conversion qui a suivi une publicité vue ou cliquée, des annonceurs qui ont des témoins. Net des "
        "remboursements."
    ),
    "Spend per conversion that the ads caused, of advertisers with a holdout; with its 95 % interval. It does not "
    "exist where the ads may have caused none. Net of refunds.": (
        "Dépense par conversion que les publicités ont causée, des annonceurs qui ont des témoins ; avec l'intervalle "
        "de 95 %. N'existe pas là où elles peuvent n'en avoir causé aucune. Net des remboursements."
    ),
    "The two groups": "Les deux groupes",
    "Their conversions from their first opportunity on.": "Leurs conversions depuis leur première occasion.",
    "Upper end.": "Borne haute.",
    "Upper end; a dash where there may be none at all.": "Borne haute ; un tiret là où il peut n'y en avoir aucune.",
    "Whether the difference of the two groups can be told from chance.": (
        "Si la différence des deux groupes se distingue du hasard."
    ),
    "Whom last touch credits": "À qui le dernier contact attribue",
    "after a click": "après un clic",
    "after a view": "après une vue",
    "all": "toutes",
    "at least": "au moins",
    "at most": "au plus",
    "bought": "achats",
    "cannot tell: no conversions file": "on ne sait : pas de fichier de conversions",
    "cannot tell: the journal keeps no bids": "on ne sait : le journal ne garde pas les offres",
    "cannot tell: nobody was held out": "on ne sait : pas de témoins",
    "cannot tell: nobody was asked for": "on ne sait : personne n'a été sollicité",
    "cannot tell: the holdout is too small": "on ne sait : trop peu de témoins",
    "people who might be shown the ads bought less than those held out": (
        "ceux qui pouvaient voir les publicités ont acheté moins que les témoins"
    ),
    "the ads caused conversions": "les publicités ont causé des conversions",
    "caused": "causées",
    "caused, at least": "causées, au moins",
    "conversions by last touch": "conversions au dernier contact",
    "conversions caused": "conversions causées",
    "credited": "attribuées",
    "credited by last touch": "attribuées au dernier contact",
    "caused, by holdout": "causées, par témoins",
    "days before a conversion in which an ad may be its last touch": (
        "jours avant une conversion où une publicité peut en être le dernier contact"
    ),
    "held out": "témoins",
    "iCPA": "iCPA",
    "last touch": "dernier contact",
    "might see": "pouvaient voir",
    "spend / conversions caused. A dash where it cannot be told.": (
        "dépense / conversions causées. Un tiret là où on ne peut le dire."
    ),
    "spend / conversions that last touch credits.": "dépense / conversions attribuées au dernier contact.",
    "to hold out": "témoins qu'il faut",
    "verdict": "verdict",
    "{name}: last touch credits {credited}, {cpa} each; the ads caused {caused}, {icpa} each (95 %: "
    "{low} to {high}).": (_TOLD + "les publicités en ont causé {caused}, {icpa} chacune (95 % : {low} à {high})."),
    "{name}: last touch credits {credited}, {cpa} each; yet people who might see the ads bought less than those held "
    "out.": _TOLD + "pourtant ceux qui pouvaient les voir ont acheté moins que les témoins.",
    "{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the holdout is too small, "
    "and no difference was seen.": _UNTOLD + "trop peu de témoins, et aucune différence n'a été vue.",
    "{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the holdout of {held} is "
    "too small, to tell the difference seen it would take {needed}.": (
        _UNTOLD + "{held} mis à part, c'est trop peu, pour dire la différence vue il en faudrait {needed}."
    ),
    "{name}: last touch credits {credited}, {cpa} each; what the ads caused cannot be told: the holdout of {held} is "
    "too small, to tell what last touch claims it would take {needed}.": (
        _UNTOLD + "{held} mis à part, c'est trop peu, pour dire ce que le dernier contact prétend il en faudrait "
        "{needed}."
    ),
    "{n} of the conversions file repeat another and were left out.": (
        "{n} du fichier de conversions en répètent une autre et ont été laissées de côté."
    ),
    "{n} were held out at one time and not at another: the holdout was changed.": (
        "{n} ont été témoins à un moment et non à un autre : le groupe témoin a changé."
    ),
    "{x} was spent through remote bidders, whom a holdout does not bind; it is in the CPA and not in the iCPA.": (
        "{x} ont été dépensés par des enchérisseurs distants, qu'aucun groupe témoin ne lie ; dans le CPA, non dans "
        "l'iCPA."
    ),
    "{x} was spent on people nobody knows; it is in neither.": (
        "{x} ont été dépensés pour des gens que nul ne connaît ; ni dans l'un ni dans l'autre."
    ),
    # own_resale
    "Own customers, rented": "Ses propres clients, loués",
    "how much went on people who were customers already, and what did that bring?": (
        "combien pour des gens déjà clients, et qu'est-ce que cela a rapporté ?"
    ),
    "Ads seen.": "Publicités vues.",
    "An ad for one of them costs {x} times one for somebody else.": (
        "Une publicité pour l'un d'eux coûte {x} fois celle pour un autre."
    ),
    "CPM of others": "CPM des autres",
    "CPM of own customers": "CPM des clients",
    "CPM of own customers / CPM of others: above 1, one's own customers are the dearer ones.": (
        "CPM des clients / CPM des autres : au-dessus de 1, ses propres clients sont les plus chers."
    ),
    "CPM others": "CPM autres",
    "CPM own": "CPM clients",
    "CPM own / CPM others.": "CPM clients / CPM autres.",
    "Different own customers who were rented.": "Clients différents qui ont été loués.",
    "How many were customers already?": "Combien étaient déjà clients ?",
    "Nobody can tell without the advertiser's own book of conversions: give it with --conversions FILE.csv.": (
        "Nul ne peut le dire sans le livre des conversions de l'annonceur : donnez-le par --conversions FICHIER.csv."
    ),
    "Nobody can tell: no own customer was held out, or the own list is not in the ledger's folder.": (
        "Nul ne peut le dire : aucun client n'est témoin, ou la liste des clients n'est pas dans le registre."
    ),
    "Nobody who was rented stands on an own list: either there are none, or no list was given (rentier list import).": (
        "Personne de loué n'est sur une liste de clients : ou il n'y en a pas, ou aucune liste n'a été donnée (rentier "
        "list import)."
    ),
    "No own list lies in the ledger's folder (rentier list import): what was caused cannot be split by own and others, "
    "for the held out have no wins that say so.": (
        "Aucune liste de clients dans le registre (rentier list import) : ce qui a été causé ne peut être "
        "partagé entre "
        "clients et autres, car les témoins n'ont pas d'enchères gagnées qui le disent."
    ),
    "Of it, for people on the advertiser's own list at that time.": (
        "Dont pour des gens alors sur la liste de clients de l'annonceur."
    ),
    "Of the spend shown, {share} is on own customers.": "De la dépense montrée, {share} vont à ses propres clients.",
    "Of these, by own customers.": "Dont par ses propres clients.",
    "Own customers buy without an ad as well: last touch credits the ad with it, the holdout does not.": (
        "Les clients achètent aussi sans publicité : le dernier contact la lui attribue, les témoins non."
    ),
    "Own is who stood on the advertiser's own list when the auction was held; a match is exact, so somebody with "
    "another id, or unknown, counts as not own.": (
        "Est client qui était sur la liste de l'annonceur lors de l'enchère ; il faut l'identité exacte, donc qui en a "
        "une autre, ou est inconnu, ne compte pas comme client."
    ),
    "Price of 1,000 ads seen by others.": "Prix de 1 000 publicités vues par d'autres.",
    "Price of 1,000 ads seen by own customers.": "Prix de 1 000 publicités vues par des clients.",
    "Price of 1,000 ads seen by own customers. Net of refunds.": (
        "Prix de 1 000 publicités vues par des clients. Net des remboursements."
    ),
    "Price of 1,000 ads seen by people who are no customers yet. Net of refunds.": (
        "Prix de 1 000 publicités vues par des gens qui ne sont pas encore clients. Net des remboursements."
    ),
    "Spend for people on the advertiser's own list at the time of the auction, over all spend. Net of refunds.": (
        "Dépense pour des gens sur la liste de clients de l'annonceur lors de l'enchère, sur toute la dépense. Net des "
        "remboursements."
    ),
    "Spend on own customers and on others": "Dépense pour ses clients et pour d'autres",
    "Spend on own customers over what as many ads cost the same advertisers for others: an advertiser who pays much "
    "for everybody does not count as a premium.": (
        "Dépense pour ses clients sur ce que coûtent aux mêmes annonceurs autant de publicités pour d'autres : un "
        "annonceur qui paie cher pour tous ne compte pas comme un supplément."
    ),
    "What did that bring?": "Qu'est-ce que cela a rapporté ?",
    "What it brought: own customers and others": "Ce que cela a rapporté : clients et autres",
    "What was paid for people on the advertiser's own list at the time of the auction. Net of refunds.": (
        "Ce qui a été payé pour des gens sur la liste de clients de l'annonceur lors de l'enchère. Net des "
        "remboursements."
    ),
    "on own": "pour clients",
    "on own / spend.": "pour clients / dépense.",
    "own ads": "pub. clients",
    "own customers": "ses clients",
    "others": "autres",
    "own people": "clients",
    "premium": "supplément",
    "premium on own customers": "supplément pour ses clients",
    "share": "part",
    "share of spend on own customers": "part de la dépense pour ses clients",
    "spend on own customers": "dépense pour ses clients",
    "the same, advertiser by advertiser": "le même, annonceur par annonceur",
    "whom": "qui",
    "{name}, own customers: last touch credits {credited} at {cpa}; the ads caused none.": (
        "{name}, ses clients : le dernier contact s'attribue {credited} à {cpa} ; les publicités n'en ont causé aucune."
    ),
    "{name}, own customers: last touch credits {credited} at {cpa}; the ads caused {caused} at {icpa}.": (
        "{name}, ses clients : le dernier contact s'attribue {credited} à {cpa} ; les publicités en ont causé {caused} "
        "à {icpa}."
    ),
    "{name}, own customers: last touch credits {credited} at {cpa}; whether the ads caused any cannot be told with "
    "{held} held out.": (
        "{name}, ses clients : le dernier contact s'attribue {credited} à {cpa} ; si les publicités en ont "
        "causé, on ne "
        "peut le dire avec {held} mis à part."
    ),
    "{own} of {all} people rented were customers already: {share} of the spend, {x}.": (
        "{own} des {all} personnes louées étaient déjà clientes : {share} de la dépense, {x}."
    ),
}
