-- How many pets were reported lost or found in each month, and how many of them were matched.
-- Reads `trusted`, the rows that passed the rules. Names are personal and stay out.
WITH reports AS (
    SELECT
        CAST(date_trunc('month', Date) AS DATE) AS Reported,
        State,
        -- Cats are written as such or by the length of their hair (DSH, DMH, DLH); all others are breeds of other animals.
        coalesce(regexp_matches(Breed, '(?i)\b(cat|kitten|dsh|dmh|dlh|tabby)\b'), false) AS NamedAsCat
    FROM trusted
)

SELECT
    Reported AS "Month", -- the first day of the month of the reports
    NamedAsCat AS "Named As Cat", -- whether the breed says that it is a cat
    count(*) AS "Reports", -- how many reports
    count(*) FILTER (WHERE State = 'Lost') AS "Still Lost", -- how many pets are still lost
    count(*) FILTER (WHERE State = 'Found') AS "Found, Owner Unknown", -- how many were found and nobody has claimed
    count(*) FILTER (WHERE State = 'Matched') AS "Matched", -- how many found their owner
    -- Matched in a hundred reports.
    CAST(100.0 * count(*) FILTER (WHERE State = 'Matched') / count(*) AS DECIMAL(5, 2)) AS "Matched Percent"
FROM reports
GROUP BY Reported, NamedAsCat
ORDER BY "Month", "Named As Cat"
