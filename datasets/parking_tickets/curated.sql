-- How many tickets were written each day, for what offence, and what became of them.
-- Reads `trusted`, the rows that passed the rules. Blocks and streets are internal and stay out.
WITH texts AS (
    SELECT
        Bylaw,
        Section,
        rtrim(InfractionText, '. ') AS InfractionText, -- the same text comes with and without a full stop
        count(*) AS Tickets
    FROM trusted
    WHERE rtrim(InfractionText, '. ') <> ''
    GROUP BY Bylaw, Section, rtrim(InfractionText, '. ')
),

-- Whole months lack the text: an offence is described by the text used most often for it in the year.
offences AS (
    SELECT
        Bylaw,
        Section,
        InfractionText
    FROM texts
    QUALIFY row_number() OVER (PARTITION BY Bylaw, Section ORDER BY Tickets DESC, InfractionText) = 1
),

summary AS (
    SELECT
        EntryDate,
        Bylaw,
        Section,
        Status,
        count(*) AS Tickets
    FROM trusted
    GROUP BY EntryDate, Bylaw, Section, Status
)

SELECT
    summary.EntryDate AS "Entry Date", -- the local day on which the tickets were written
    summary.Bylaw AS "Bylaw", -- the by-law that was broken
    summary.Section AS "Section", -- the section of it
    -- The offence in words, filled in from by-law and section where the ticket has none.
    offences.InfractionText AS "Infraction Text",
    summary.Status AS "Status", -- what became of the tickets
    summary.Tickets AS "Tickets" -- how many tickets
FROM summary
LEFT JOIN offences
    ON summary.Bylaw IS NOT DISTINCT FROM offences.Bylaw
    AND summary.Section IS NOT DISTINCT FROM offences.Section
ORDER BY "Entry Date" NULLS LAST, "Bylaw" NULLS LAST, "Section" NULLS LAST, "Status" NULLS LAST
