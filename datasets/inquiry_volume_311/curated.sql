-- What 3-1-1 was asked about in each month, and how people asked.
-- Reads `trusted`, the rows that passed the rules. Nothing in it is about a person.
SELECT
    CAST(YearMonth || '-01' AS DATE) AS "Month", -- the first day of the month
    Department AS "Department", -- whose matter it was
    -- What was asked about, without the mark of types no longer in use.
    regexp_replace(InquiryType, '^ZZ OLD - ', '') AS "Inquiry Type",
    Channel AS "Channel", -- how people asked
    sum(NumberOfRecords) AS "Inquiries" -- how many inquiries
FROM trusted
GROUP BY ALL
ORDER BY "Month", "Department" NULLS LAST, "Inquiry Type" NULLS LAST, "Channel" NULLS LAST
